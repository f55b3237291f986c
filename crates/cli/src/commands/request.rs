//! `noctule request`: publishes a request and waits for the answer, as mosquitto_rr does.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use noctule_client::{Client, Message, Property, Subscribe, TopicName};

use super::publish::{Source, Terms, message_arguments};
use super::subscribe::selection::{NO_RETAINED, no_retained};
use crate::client_arguments::{self, Connection, duration, property_argument};
use crate::client_run::{self, Failure, attend, connect, prepare};
use crate::output;
use crate::printer::{Printer, printer, printer_arguments};

/// The command and its flags.
pub(crate) fn describe() -> Command {
    Command::new("request")
        .about("Publish a request and print the answer, with the flags of mosquitto_rr")
        .disable_help_flag(true)
        .args_override_self(true)
        .args(client_arguments::arguments())
        .arg(property_argument("-D publish correlation-data 7"))
        .args(message_arguments())
        .args(own_arguments())
        .arg(no_retained())
        .args(printer_arguments())
        .group(ArgGroup::new("source").args(["message", "file", "null-message", "stdin-file"]))
        .after_help(EXAMPLES)
}

const EXAMPLES: &str = "\
MQTT 5 is spoken unless -V says otherwise; the request then carries the response topic and
correlation data, and an answer with other correlation data is not taken. The format of -F is
described by `noctule sub --help`.

Examples:
  noctule request -t lamp/ask -e lamp/answer -m status -W 5s

Exit codes: 0 answered, 1 could not be done, 2 wrong usage, 27 no answer in time (-W), else the
broker's reason code.";

const RESPONSE: &str = "response-topic";
const TIMEOUT: &str = "timeout";
const LATENCY: &str = "latency";

fn own_arguments() -> [Arg; 3] {
    [
        Arg::new(RESPONSE)
            .short('e')
            .long(RESPONSE)
            .value_name("TOPIC")
            .required(true)
            .help("Where the answer is expected"),
        Arg::new(TIMEOUT)
            .short('W')
            .long(TIMEOUT)
            .value_name("SECONDS")
            .value_parser(duration)
            .help("Wait at most so long, else end with exit code 27"),
        Arg::new(LATENCY)
            .long(LATENCY)
            .action(ArgAction::SetTrue)
            .help("Also print how long the answer took, on standard error"),
    ]
}

/// Asks as was asked for.
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
    source: Source,
    terms: Terms,
    response_topic: String,
    correlation_data: Vec<u8>,
    timeout: Option<Duration>,
    latency: bool,
    no_retained: bool,
}

impl Plan {
    fn read(arguments: &ArgMatches) -> Result<Self, Failure> {
        let connection = client_arguments::connection_v5(arguments).map_err(Failure::usage)?;
        let response_topic = arguments.get_one::<String>(RESPONSE).cloned().unwrap_or_default();
        TopicName::new(&response_topic).map_err(|fault| {
            Failure::usage(format!("\"{response_topic}\" cannot be a response topic: {fault}"))
        })?;
        let given = connection.properties.iter().find_map(|option| match option.property() {
            Property::CorrelationData(data) => Some(data.to_vec()),
            _ => None,
        });
        Ok(Self {
            source: Source::read(arguments, false)?,
            terms: Terms::read(arguments, &connection)?,
            response_topic,
            correlation_data: given.unwrap_or_else(|| fastrand::u64(..).to_be_bytes().into()),
            timeout: arguments.get_one(TIMEOUT).copied(),
            latency: arguments.get_flag(LATENCY),
            no_retained: arguments.get_flag(NO_RETAINED),
            connection,
        })
    }

    async fn carry_out(&self, client: &Client, printer: &mut Printer) -> Result<(), Failure> {
        let failure = |error| Failure::of(&error, self.connection.version);
        let payload = self.source.payload().await?;
        connect(client, &self.connection).await?;
        let subscribe = Subscribe::new(self.response_topic.as_str()).qos(self.terms.qos);
        let mut answers = client.subscribe(subscribe).await.map_err(failure)?;
        let mut request = self.terms.message(payload);
        let given =
            |id| self.connection.properties.iter().any(|option| option.property().id() == id);
        if !given(noctule_client::PropertyId::ResponseTopic) {
            request = request.property(Property::ResponseTopic(&self.response_topic));
        }
        if !given(noctule_client::PropertyId::CorrelationData) {
            request = request.property(Property::CorrelationData(&self.correlation_data));
        }
        let asked = Instant::now();
        client.publish(request).await.map_err(failure)?;
        while let Some(answer) = answers.next().await {
            if !self.is_mine(&answer) {
                continue;
            }
            printer.print(&answer);
            printer.flush();
            if self.latency {
                output::complain(format!("answered after {:.3?}", asked.elapsed()));
            }
            return Ok(());
        }
        Err(Failure::new("the connection ended before an answer came"))
    }

    /// Whether it answers this request, as far as it says.
    fn is_mine(&self, answer: &Message) -> bool {
        if self.no_retained && answer.retain() {
            return false;
        }
        let data = answer.properties().correlation_data();
        data.is_none_or(|data| data == self.correlation_data)
    }
}
