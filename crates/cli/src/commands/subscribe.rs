//! `noctule sub`: subscribes and prints what comes, as mosquitto_sub does.

pub(super) mod selection;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_client::{
    Carrier, Client, Message, Messages, PacketType, Publish, QoS, RetainHandling, Subscribe,
    TopicFilter,
};

use self::selection::{Selection, selection_arguments};
use crate::client_arguments::{self, Connection, PropertyOption, duration, property_argument, qos};
use crate::client_run::{self, Failure, attend, connect, prepare};
use crate::message_format::manual;
use crate::output;
use crate::printer::{Printer, printer, printer_arguments};

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("sub")
        .about("Subscribe and print what comes, with the flags of mosquitto_sub")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D subscribe subscription-identifier 7"))
        .args(topic_arguments())
        .args(ending_arguments())
        .args(selection_arguments())
        .args(printer_arguments())
        .after_help(format!("{}\n{EXAMPLES}", manual()))
}

const EXAMPLES: &str = "\
Examples:
  noctule sub -t 'sensors/+' -v
  noctule sub -t '#' -F '%I %t %p' -h broker.example --tls
  noctule sub -t sensors/status -F %J --pretty
  noctule sub -t answer -C 1 -W 5s
  noctule sub -t jobs -q 2 -c -i worker1

Exit codes: 0 fine, 1 could not be done, 2 wrong usage, 27 timed out (-W), else the broker's reason
code.";

const TOPIC: &str = "topic";
const UNSUBSCRIBE: &str = "unsubscribe";
const QOS: &str = "qos";
const COUNT: &str = "count";
const EXIT: &str = "exit-after-suback";
const TIMEOUT: &str = "timeout";
const REMOVE_RETAINED: &str = "remove-retained";
const AS_PUBLISHED: &str = "retain-as-published";
const HANDLING: &str = "retain-handling";
const NO_LOCAL: &str = "no-local";

fn topic_arguments() -> Vec<Arg> {
    let topics = |id: &'static str, short: char| {
        Arg::new(id).short(short).long(id).value_name("TOPIC").action(ArgAction::Append)
    };
    vec![
        topics(TOPIC, 't').help("Subscribe to this; may be repeated"),
        topics(UNSUBSCRIBE, 'U').help("End this subscription of the session; may be repeated"),
        Arg::new(QOS)
            .short('q')
            .long(QOS)
            .value_name("QOS")
            .value_parser(qos)
            .help("The highest quality of service wanted: 0, 1 or 2 [default: 0]"),
        switch(AS_PUBLISHED).help("Keep the retain flag as it was published (MQTT 5)"),
        Arg::new(HANDLING)
            .long(HANDLING)
            .value_name("WHEN")
            .value_parser(["always", "new", "never"])
            .help("When to send retained messages (MQTT 5) [default: always]"),
        switch(NO_LOCAL).help("Leave out messages of this client (MQTT 5)"),
    ]
}

fn ending_arguments() -> Vec<Arg> {
    vec![
        Arg::new(COUNT)
            .short('C')
            .long(COUNT)
            .value_name("NUMBER")
            .value_parser(value_parser!(u64).range(1..))
            .help("End after so many messages"),
        Arg::new(TIMEOUT)
            .short('W')
            .long(TIMEOUT)
            .value_name("SECONDS")
            .value_parser(duration)
            .help("End after so long, with exit code 27"),
        switch(EXIT).short('E').help("End when all subscriptions are acknowledged"),
        switch(REMOVE_RETAINED).help("Have the broker forget the retained messages that come"),
    ]
}

fn switch(id: &'static str) -> Arg {
    Arg::new(id).long(id).action(ArgAction::SetTrue)
}

/// Subscribes as was asked for.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    client_run::run(arguments, |arguments| {
        let plan = Plan::read(arguments)?;
        let mut printer = printer(arguments)?;
        let client = prepare(&plan.connection)?;
        Ok(async move {
            let work = plan.carry_out(&client, &mut printer);
            attend(&client, &plan.connection, plan.timeout, work).await
        })
    })
}

struct Plan {
    connection: Connection,
    filters: Vec<String>,
    unsubscribe: Vec<String>,
    qos: QoS,
    retain_as_published: bool,
    retain_handling: RetainHandling,
    no_local: bool,
    count: Option<u64>,
    timeout: Option<Duration>,
    exit_after_suback: bool,
    selection: Selection,
    remove_retained: bool,
}

impl Plan {
    fn read(arguments: &ArgMatches) -> Result<Self, Failure> {
        let connection = client_arguments::connection(arguments).map_err(Failure::usage)?;
        let texts = |id: &str| -> Vec<String> {
            arguments.get_many(id).into_iter().flatten().cloned().collect()
        };
        let mut filters = texts(TOPIC);
        filters.extend(connection.topic.clone());
        let unsubscribe = texts(UNSUBSCRIBE);
        if filters.is_empty() && unsubscribe.is_empty() {
            return Err(Failure::usage("to what? Give a topic with -t"));
        }
        for filter in filters.iter().chain(&unsubscribe) {
            TopicFilter::new(filter).map_err(|fault| {
                Failure::usage(format!("\"{filter}\" cannot be subscribed to: {fault}"))
            })?;
        }
        Ok(Self {
            connection,
            filters,
            unsubscribe,
            qos: arguments.get_one(QOS).copied().unwrap_or_default(),
            retain_as_published: arguments.get_flag(AS_PUBLISHED),
            retain_handling: match arguments.get_one::<String>(HANDLING).map(String::as_str) {
                Some("new") => RetainHandling::IfNew,
                Some("never") => RetainHandling::Never,
                _ => RetainHandling::Always,
            },
            no_local: arguments.get_flag(NO_LOCAL),
            count: arguments.get_one(COUNT).copied(),
            timeout: arguments.get_one(TIMEOUT).copied(),
            exit_after_suback: arguments.get_flag(EXIT),
            selection: Selection::read(arguments)?,
            remove_retained: arguments.get_flag(REMOVE_RETAINED),
        })
    }

    async fn carry_out(&self, client: &Client, printer: &mut Printer) -> Result<(), Failure> {
        // Before the start, so that nothing of a resumed session is missed.
        let messages = client.other_messages();
        connect(client, &self.connection).await?;
        self.unsubscribe(client).await?;
        if self.exit_after_suback || self.filters.is_empty() {
            return self.subscribe(client).await;
        }
        let printing = self.print(client, messages, printer);
        let subscribing = async {
            self.subscribe(client).await?;
            std::future::pending().await
        };
        // Messages may come before SUBACK, and nothing comes if all is refused.
        tokio::select! {
            outcome = printing => outcome,
            refused = subscribing => refused,
        }
    }

    /// Subscribes to every filter. It is an error only if all are refused.
    async fn subscribe(&self, client: &Client) -> Result<(), Failure> {
        let requests: Vec<_> = self
            .filters
            .iter()
            .map(|filter| (filter, client.subscribe_only(self.subscription(filter))))
            .collect();
        let mut failure = None;
        let mut granted = self.filters.is_empty();
        for (filter, request) in requests {
            match request.await {
                Ok(code) => {
                    granted = true;
                    if self.connection.debug {
                        output::complain(format!("subscribed to {filter:?}: {code}"));
                    }
                }
                Err(error) => {
                    if !self.connection.quiet {
                        output::complain(format!("subscription to {filter:?}: {error}"));
                    }
                    failure = Some(Failure::of(&error, self.connection.version));
                }
            }
        }
        match failure {
            Some(failure) if !granted => Err(failure),
            _ => Ok(()),
        }
    }

    fn subscription(&self, filter: &str) -> Subscribe {
        let subscribe = Subscribe::new(filter)
            .qos(self.qos)
            .no_local(self.no_local)
            .retain_as_published(self.retain_as_published)
            .retain_handling(self.retain_handling);
        let ours = Carrier::Packet(PacketType::Subscribe);
        let properties =
            self.connection.properties.iter().filter(|option| option.carrier() == ours);
        properties.map(PropertyOption::property).fold(subscribe, Subscribe::property)
    }

    async fn unsubscribe(&self, client: &Client) -> Result<(), Failure> {
        for filter in &self.unsubscribe {
            let outcome = client.unsubscribe(filter.as_str()).await;
            outcome.map_err(|error| Failure::of(&error, self.connection.version))?;
        }
        Ok(())
    }

    async fn print(
        &self,
        client: &Client,
        mut messages: Messages,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let mut left = self.count;
        while let Some(message) = printer.next(&mut messages).await {
            if self.selection.retained_only && !message.retain() {
                break;
            }
            if self.remove_retained && message.retain() && !self.selection.filters_out(&message) {
                self.remove(client, &message).await?;
            }
            if !self.selection.takes(&message) {
                continue;
            }
            if !printer.print(&message) {
                // Nobody reads any more.
                return Ok(());
            }
            left = left.map(|left| left - 1);
            if left == Some(0) {
                break;
            }
        }
        printer.flush();
        match client.ended() {
            Some(reason) => {
                let error = noctule_client::Error::Ended(reason);
                Err(Failure::of(&error, self.connection.version))
            }
            None => Ok(()),
        }
    }

    async fn remove(&self, client: &Client, message: &Message) -> Result<(), Failure> {
        if message.payload().is_empty() {
            return Ok(());
        }
        let empty = Publish::new(message.topic(), "").qos(QoS::AtLeastOnce).retain(true);
        // What becomes of it is told by the next one that is refused.
        let publishing = client.publish_later(empty).await;
        publishing.map(drop).map_err(|error| Failure::of(&error, self.connection.version))
    }
}
