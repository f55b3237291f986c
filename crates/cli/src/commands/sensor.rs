//! `noctule sensor`: simulated sensors that publish temperature, humidity and pressure.
//!
//! It waits for its broker and comes back by itself; each change is said once, and nothing is
//! published in vain while there is no connection.

mod template;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use jiff::Zoned;
use noctule_client::{Client, Connected, Error, Event, Hello, Publishing, Reason};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::template::{Occasion, Templates, shown};
use crate::client_arguments::{self, Connection, duration, property_argument, qos};
use crate::client_run::{self, Failure, interrupted};
use crate::output;
use crate::weather::Weather;

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("sensor")
        .about("Simulate sensors for temperature, humidity and pressure")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D publish user-property room attic"))
        .args(own_arguments())
        .after_help(EXAMPLES)
}

const EXAMPLES: &str = "\
MQTT 5 is spoken unless -V says otherwise.

Templates may contain {prefix}, {device} (a number from 1), {name} (temperature, humidity,
pressure), {value}, {unit}, {timestamp} and {number} (of the round).

Examples:
  noctule sensor
  noctule sensor --interval 500ms --seed 7 -h broker.example --tls
  noctule sensor --count 100 --topic 'site/{device}/{name}' --payload '{\"v\":{value}}'

Exit codes: 0 ended by Ctrl-C or --rounds, 1 could not be done, 2 wrong usage, else the broker's
reason code.";

const INTERVAL: &str = "interval";
const COUNT: &str = "count";
const PREFIX: &str = "prefix";
const QOS: &str = "qos";
const SEED: &str = "seed";
const TOPIC: &str = "topic";
const PAYLOAD: &str = "payload";
const ROUNDS: &str = "rounds";

fn own_arguments() -> Vec<Arg> {
    let value = |id: &'static str, name: &'static str| Arg::new(id).long(id).value_name(name);
    vec![
        value(INTERVAL, "SECONDS")
            .default_value("5")
            .value_parser(positive)
            .help("Publish once in so long"),
        value(COUNT, "NUMBER")
            .default_value("1")
            .value_parser(value_parser!(u32).range(1..=100_000))
            .help("Simulate so many devices"),
        value(PREFIX, "TOPIC").default_value("sensors").help("What topics begin with"),
        value(QOS, "QOS")
            .short('q')
            .default_value("0")
            .value_parser(qos)
            .help("Quality of service: 0, 1 or 2"),
        value(SEED, "NUMBER")
            .value_parser(value_parser!(u64))
            .help("Simulate the same weather again [default: random]"),
        value(TOPIC, "TEMPLATE").short('t').help(
            "Where values go [default: {prefix}/{name}, with more devices {prefix}/{device}/{name}]",
        ),
        value(PAYLOAD, "TEMPLATE").default_value("{value}").help("What values look like"),
        value(ROUNDS, "NUMBER")
            .value_parser(value_parser!(u64).range(1..))
            .help("End after so many rounds"),
    ]
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than nothing".into()),
        duration => Ok(duration),
    }
}

/// Simulates until somebody ends it.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    client_run::run(arguments, |arguments| {
        let plan = Plan::read(arguments)?;
        let (count, seed) = plan.devices;
        let mut devices: Vec<_> =
            (0..u64::from(count)).map(|n| Weather::new(seed.wrapping_add(n))).collect();
        let client = Client::prepare(plan.connection.options.clone())
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(async move {
            let (outcome, by_user) = tokio::select! {
                outcome = plan.carry_out(&mut devices, &client) => (outcome, false),
                () = interrupted() => (Ok(()), true),
            };
            if by_user {
                say("\nStopping sensor simulation…");
            }
            client_run::leave(&client).await;
            if outcome.is_ok() {
                say("Disconnected cleanly. Goodbye!");
            }
            outcome
        })
    })
}

fn say(text: &str) {
    output::answer(&format!("{text}\n"));
}

struct Plan {
    connection: Connection,
    interval: Duration,
    templates: Templates,
    rounds: Option<u64>,
    /// How many devices, and the seed of the first one's weather.
    devices: (u32, u64),
}

impl Plan {
    fn read(arguments: &ArgMatches) -> Result<Self, Failure> {
        let mut connection = client_arguments::connection_v5(arguments).map_err(Failure::usage)?;
        connection.options = connection.options.queue_at_most_once(false);
        if !arguments.contains_id("id") && !arguments.contains_id("id-prefix") {
            let id = format!("sensor_{:06x}", fastrand::u32(..1 << 24));
            connection.options = connection.options.client_id(id);
        }
        let text = |id: &str| arguments.get_one::<String>(id).cloned();
        let count: u32 = arguments.get_one(COUNT).copied().unwrap_or(1);
        let seed: u64 = arguments.get_one(SEED).copied().unwrap_or_else(|| fastrand::u64(..));
        let topic = if count == 1 { "{prefix}/{name}" } else { "{prefix}/{device}/{name}" };
        let templates = Templates {
            prefix: text(PREFIX).unwrap_or_default(),
            topic: text(TOPIC).unwrap_or_else(|| topic.to_owned()),
            payload: text(PAYLOAD).unwrap_or_default(),
            qos: arguments.get_one(QOS).copied().unwrap_or_default(),
            properties: connection.properties.clone(),
        };
        Ok(Self {
            connection,
            interval: arguments.get_one(INTERVAL).copied().unwrap_or(Duration::from_secs(5)),
            templates,
            rounds: arguments.get_one(ROUNDS).copied(),
            devices: (count, seed),
        })
    }

    /// Tells of the connection and publishes, side by side: a message at QoS 1 or 2 may wait for a
    /// connection whose loss has to be told.
    async fn carry_out(&self, devices: &mut [Weather], client: &Client) -> Result<(), Failure> {
        let (ready, is_ready) = watch::channel(false);
        tokio::select! {
            outcome = self.tell_all(client, &ready) => outcome,
            outcome = self.publish_all(devices, client, is_ready) => outcome,
        }
    }

    /// Starts to connect and tells what becomes of it; `ready` says whether to publish.
    async fn tell_all(&self, client: &Client, ready: &watch::Sender<bool>) -> Result<(), Failure> {
        let mut events = client.events();
        say("Connecting to broker…");
        client.start();
        let (mut connected_before, mut told_away) = (false, false);
        while let Some(event) = events.next().await {
            match event {
                Event::Connected(granted) => {
                    self.greet(client, &granted, connected_before).await?;
                    (connected_before, told_away) = (true, false);
                    ready.send_replace(true);
                }
                Event::Ended(reason) => {
                    return Err(Failure::of(&Error::Ended(reason), self.connection.version));
                }
                event => {
                    ready.send_replace(false);
                    self.tell(&event, connected_before, &mut told_away);
                }
            }
        }
        Err(Failure::new("the client ended"))
    }

    async fn publish_all(
        &self,
        devices: &mut [Weather],
        client: &Client,
        mut is_ready: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut round = 0;
        loop {
            if !*is_ready.borrow() {
                // The other side of this channel lives as long as this loop.
                let _ = is_ready.wait_for(|ready| *ready).await;
                tick.reset_immediately();
            }
            tick.tick().await;
            if *is_ready.borrow() {
                round += 1;
                self.publish(devices, client, round).await?;
            }
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return Ok(());
            }
        }
    }

    /// Says that there is a connection, and whether the broker confirms it.
    async fn greet(
        &self,
        client: &Client,
        granted: &Connected,
        again: bool,
    ) -> Result<(), Failure> {
        if again {
            say("Connected to broker again");
            return Ok(());
        }
        let own = granted.is_noctule().then_some(DEFAULT_PATIENCE);
        let Some(patience) = self.connection.hello.or(own) else {
            say("Connected to broker");
            return Ok(());
        };
        let hello = client.wait_for_hello(patience).await;
        match hello.map_err(|error| Failure::of(&error, self.connection.version))? {
            Hello::Confirmed => say("Connected to broker; authenticated"),
            Hello::TimedOut | Hello::Impossible => {
                say("Connected to broker; it does not greet, going on");
            }
        }
        Ok(())
    }

    /// Says once that there is no connection.
    fn tell(&self, event: &Event, connected_before: bool, told_away: &mut bool) {
        match event {
            Event::Disconnected(reason) if **reason != Reason::Asked => {
                *told_away = true;
                say(&format!("Connection lost: {reason}; will keep trying to connect"));
            }
            Event::Reconnecting { reason, .. } if !*told_away => {
                *told_away = true;
                if !connected_before {
                    say("Broker not available yet, will keep trying to connect");
                    if self.connection.debug {
                        output::complain(reason);
                    }
                    let seconds = self.interval.as_secs_f64();
                    let noun = if seconds == 1.0 { "second" } else { "seconds" };
                    say(&format!(
                        "Sensor will publish every {seconds} {noun} once connected; press Ctrl+C \
                         to stop"
                    ));
                }
            }
            _ => {}
        }
    }

    /// Publishes one reading of each device and waits for what its QoS promises, so that nothing
    /// piles up.
    async fn publish(
        &self,
        devices: &mut [Weather],
        client: &Client,
        round: u64,
    ) -> Result<(), Failure> {
        let timestamp = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let count = devices.len();
        let mut under_way = Vec::new();
        for (device, weather) in (1..).zip(devices) {
            let reading = weather.next();
            let occasion = Occasion { device, timestamp: &timestamp, round };
            for publish in self.templates.messages(&reading, &occasion) {
                let publishing = client.publish_later(publish).await;
                under_way.push(publishing.map_err(|error| self.failure(&error))?);
            }
            let name = if count == 1 { String::new() } else { format!("{device}: ") };
            say(&format!("{name}{}", shown(&reading)));
        }
        self.wait_for(under_way).await
    }

    async fn wait_for(&self, under_way: Vec<Publishing>) -> Result<(), Failure> {
        for publishing in under_way {
            match publishing.await {
                // A reading that was lost with the connection is old by the time it is back.
                Ok(_) | Err(Error::ConnectionLost) => {}
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Ok(())
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::of(error, self.connection.version)
    }
}

/// How long the broker's greeting is waited for if it will come.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_nothing_is_refused() {
        assert!(positive("0").is_err() && positive("0.0s").is_err());
        assert_eq!(positive("250ms"), Ok(Duration::from_millis(250)));
    }
}
