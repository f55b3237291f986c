//! `noctule pub`: publishes messages, as mosquitto_pub does.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use noctule_client::{Bytes, Carrier, Client, PacketType, Property, Publish, Publishing, QoS};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};

use crate::client_arguments::{self, Connection, PropertyOption, duration, property_argument, qos};
use crate::client_run::{self, Failure, attend, connect, prepare};

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("pub")
        .about("Publish messages, with the flags of mosquitto_pub")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D publish content-type text/plain"))
        .args(message_arguments())
        .args(own_arguments())
        .group(ArgGroup::new("source").args([MESSAGE, FILE, LINES, NULL, STDIN]))
        .after_help(EXAMPLES)
}

const EXAMPLES: &str = "\
Examples:
  noctule pub -t sensors/roof -m 23.5
  noctule pub -t sensors/roof -m 23.5 -q 1 -r -h broker.example --tls
  noctule pub mqtts://me@broker.example/sensors/roof -m 23.5
  tail -f log | noctule pub -t log -l
  noctule pub -t a -m x -D publish user-property name value

Exit codes: 0 published, 1 could not be done, 2 wrong usage, else the broker's reason code.";

const TOPIC: &str = "topic";
const QOS: &str = "qos";
const RETAIN: &str = "retain";
const MESSAGE: &str = "message";
const FILE: &str = "file";
const LINES: &str = "stdin-line";
const NULL: &str = "null-message";
const STDIN: &str = "stdin-file";
const REPEAT: &str = "repeat";
const REPEAT_DELAY: &str = "repeat-delay";

/// The flags of a message, which `noctule request` has, too.
pub(super) fn message_arguments() -> Vec<Arg> {
    let switch = |id: &'static str, short: char| {
        Arg::new(id).long(id).short(short).action(ArgAction::SetTrue)
    };
    vec![
        Arg::new(TOPIC).short('t').long(TOPIC).value_name("TOPIC").help("Where to publish"),
        Arg::new(QOS)
            .short('q')
            .long(QOS)
            .value_name("QOS")
            .value_parser(qos)
            .help("Quality of service: 0, 1 or 2 [default: 0]"),
        switch(RETAIN, 'r').help("Have the broker keep the message for later subscribers"),
        Arg::new(MESSAGE)
            .short('m')
            .long(MESSAGE)
            .value_name("TEXT")
            .allow_hyphen_values(true)
            .help("The message"),
        Arg::new(FILE)
            .short('f')
            .long(FILE)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The message is what this file holds"),
        switch(NULL, 'n').help("An empty message"),
        switch(STDIN, 's').help("The message is all of standard input"),
    ]
}

fn own_arguments() -> [Arg; 3] {
    [
        Arg::new(LINES)
            .short('l')
            .long(LINES)
            .action(ArgAction::SetTrue)
            .help("Each line of standard input is a message"),
        Arg::new(REPEAT)
            .long(REPEAT)
            .value_name("NUMBER")
            .value_parser(value_parser!(u64).range(1..))
            .help("Publish the message so often [default: 1]"),
        Arg::new(REPEAT_DELAY)
            .long(REPEAT_DELAY)
            .value_name("SECONDS")
            .value_parser(duration)
            .help("Wait so long between repetitions [default: 0]"),
    ]
}

/// Publishes what was asked for.
pub(crate) fn run(arguments: &ArgMatches) -> ExitCode {
    client_run::run(arguments, |arguments| {
        let plan = Plan::read(arguments)?;
        let client = prepare(&plan.connection)?;
        Ok(async move { attend(&client, &plan.connection, None, plan.carry_out(&client)).await })
    })
}

/// Where a message comes from.
pub(super) enum Source {
    Text(Bytes),
    File(PathBuf),
    Stdin,
    Lines,
}

impl Source {
    /// Reads which it is.
    pub(super) fn read(arguments: &ArgMatches, lines: bool) -> Result<Self, Failure> {
        if let Some(text) = arguments.get_one::<String>(MESSAGE) {
            return Ok(Self::Text(text.clone().into_bytes().into()));
        }
        if let Some(path) = arguments.get_one::<PathBuf>(FILE) {
            return Ok(Self::File(path.clone()));
        }
        if lines && arguments.get_flag(LINES) {
            return Ok(Self::Lines);
        }
        if arguments.get_flag(NULL) {
            return Ok(Self::Text(Bytes::new()));
        }
        if arguments.get_flag(STDIN) {
            return Ok(Self::Stdin);
        }
        Err(Failure::usage("what is to be published? Give one of -m, -f, -l, -n and -s"))
    }

    /// The whole message.
    pub(super) async fn payload(&self) -> Result<Bytes, Failure> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read(path) {
                Ok(content) => Ok(content.into()),
                Err(error) => Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
            },
            Self::Stdin | Self::Lines => {
                let mut content = Vec::new();
                stdin().read_to_end(&mut content).await.map_err(|error| {
                    Failure::new(format!("cannot read standard input: {error}"))
                })?;
                Ok(content.into())
            }
        }
    }
}

/// What every message of a command has.
pub(super) struct Terms {
    pub(super) topic: String,
    pub(super) qos: QoS,
    retain: bool,
    properties: Vec<PropertyOption>,
}

impl Terms {
    /// Reads them; the topic may come from the URL.
    pub(super) fn read(arguments: &ArgMatches, connection: &Connection) -> Result<Self, Failure> {
        let topic = arguments.get_one::<String>(TOPIC).or(connection.topic.as_ref());
        let topic = topic.ok_or_else(|| Failure::usage("where to? Give a topic with -t"))?;
        Ok(Self {
            topic: topic.clone(),
            qos: arguments.get_one(QOS).copied().unwrap_or_default(),
            retain: arguments.get_flag(RETAIN),
            properties: connection.properties.clone(),
        })
    }

    /// A message with this payload.
    pub(super) fn message(&self, payload: Bytes) -> Publish {
        let message = Publish::new(self.topic.as_str(), payload).qos(self.qos).retain(self.retain);
        let ours = Carrier::Packet(PacketType::Publish);
        let properties = self.properties.iter().filter(|option| option.carrier() == ours);
        properties.map(PropertyOption::property).fold(message, |message, property| match property {
            // It would only save bytes, and would not outlive a connection.
            Property::TopicAlias(_) => message,
            property => message.property(property),
        })
    }
}

struct Plan {
    connection: Connection,
    source: Source,
    terms: Terms,
    repeat: u64,
    repeat_delay: Duration,
}

impl Plan {
    fn read(arguments: &ArgMatches) -> Result<Self, Failure> {
        let connection = client_arguments::connection(arguments).map_err(Failure::usage)?;
        Ok(Self {
            source: Source::read(arguments, true)?,
            terms: Terms::read(arguments, &connection)?,
            repeat: arguments.get_one(REPEAT).copied().unwrap_or(1),
            repeat_delay: arguments.get_one(REPEAT_DELAY).copied().unwrap_or_default(),
            connection,
        })
    }

    async fn carry_out(&self, client: &Client) -> Result<(), Failure> {
        connect(client, &self.connection).await?;
        let mut under_way = UnderWay::default();
        if let Source::Lines = self.source {
            self.publish_lines(client, &mut under_way).await?;
        } else {
            let payload = self.source.payload().await?;
            for number in 0..self.repeat {
                if number > 0 && !self.repeat_delay.is_zero() {
                    tokio::time::sleep(self.repeat_delay).await;
                }
                self.publish(client, payload.clone(), &mut under_way).await?;
            }
        }
        under_way.wait_for(0, self).await
    }

    async fn publish_lines(
        &self,
        client: &Client,
        under_way: &mut UnderWay,
    ) -> Result<(), Failure> {
        let mut lines = BufReader::new(stdin()).split(b'\n');
        loop {
            match lines.next_segment().await {
                Ok(Some(line)) => self.publish(client, line.into(), under_way).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    return Err(Failure::new(format!("cannot read standard input: {error}")));
                }
            }
        }
    }

    async fn publish(
        &self,
        client: &Client,
        payload: Bytes,
        under_way: &mut UnderWay,
    ) -> Result<(), Failure> {
        let publishing = client.publish_later(self.terms.message(payload)).await;
        under_way.0.push_back(publishing.map_err(|error| self.failure(&error))?);
        under_way.wait_for(UNDER_WAY_MAX, self).await
    }

    fn failure(&self, error: &noctule_client::Error) -> Failure {
        Failure::of(error, self.connection.version)
    }
}

/// Messages whose promise is not fulfilled yet, oldest first.
#[derive(Default)]
struct UnderWay(VecDeque<Publishing>);

const UNDER_WAY_MAX: usize = 1_000;

impl UnderWay {
    /// Waits until at most `count` are left.
    async fn wait_for(&mut self, count: usize, plan: &Plan) -> Result<(), Failure> {
        while self.0.len() > count {
            let Some(oldest) = self.0.pop_front() else { break };
            oldest.await.map_err(|error| plan.failure(&error))?;
        }
        Ok(())
    }
}
