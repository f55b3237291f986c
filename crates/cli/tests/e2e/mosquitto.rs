//! mosquitto_pub and mosquitto_sub as test equipment: a subscriber that says when it is subscribed
//! and what it received, a publisher that is done when it returns.

use std::process::Command;

use rustix::process::Signal;

use crate::broker::Broker;
use crate::foreign;
use crate::program::{Finished, Program};

/// What mosquitto's `-V` takes, from the oldest.
pub(crate) const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// A message as mosquitto_sub received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its topic.
    pub(crate) topic: String,
    /// The QoS of this delivery.
    pub(crate) qos: u8,
    /// The RETAIN flag of this delivery.
    pub(crate) retain: bool,
    /// Its payload, which must be text without line breaks.
    pub(crate) payload: String,
}

/// A message as it is expected.
pub(crate) fn message(topic: &str, qos: u8, retain: bool, payload: &str) -> Message {
    Message { topic: topic.into(), qos, retain, payload: payload.into() }
}

/// A running mosquitto_sub.
pub(crate) struct Subscriber(Program);

impl Subscriber {
    /// Starts one and returns when its SUBACK is there.
    pub(crate) fn start(broker: &Broker, version: &str, flags: &[&str]) -> Self {
        let subscriber = Self::begin(broker, version, flags);
        subscriber.0.expect("SUBACK", |line| line.starts_with("Subscribed (mid").then_some(()));
        subscriber
    }

    /// Starts one and waits for nothing: messages of a resumed session may come before SUBACK.
    pub(crate) fn begin(broker: &Broker, version: &str, flags: &[&str]) -> Self {
        let mut command = client("mosquitto_sub", broker, version);
        command.args(["-d", "-F", FORMAT]).args(flags);
        Self(Program::start(&mut command))
    }

    /// The next message.
    pub(crate) fn next(&self) -> Message {
        self.0.expect("message", parse)
    }

    /// All messages up to the one with this payload, which is left out.
    pub(crate) fn until(&self, payload: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self.next();
            if message.payload == payload {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Kills it as `kill -9` does: it has no time to say DISCONNECT.
    pub(crate) fn kill(self) {
        self.0.signal(Signal::KILL);
        self.0.finish();
    }

    /// Ends it in good order: it says DISCONNECT.
    pub(crate) fn leave(self) {
        self.0.signal(Signal::TERM);
        self.0.finish();
    }

    /// Waits for its own end.
    pub(crate) fn finish(self) -> Finished {
        self.0.finish()
    }
}

/// Runs mosquitto_pub to its end. At QoS 1 and 2 the message is acknowledged then.
pub(crate) fn publish(broker: &Broker, version: &str, flags: &[&str]) {
    Program::start(client("mosquitto_pub", broker, version).args(flags)).finish().well();
}

/// Runs mosquitto_pub to its end, whatever that is.
pub(crate) fn refused(broker: &Broker, version: &str, flags: &[&str]) -> Finished {
    Program::start(client("mosquitto_pub", broker, version).args(flags)).finish()
}

/// Publishes one message per line over one connection.
pub(crate) fn publish_lines(broker: &Broker, version: &str, flags: &[&str], lines: &[String]) {
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut command = client("mosquitto_pub", broker, version);
    Program::start_with(command.args(flags).arg("-l"), input.into()).finish().well();
}

fn client(program: &str, broker: &Broker, version: &str) -> Command {
    let mut command = foreign::mosquitto(program);
    command.args(["-h", &broker.host(), "-p", &broker.port(), "-V", version]);
    command
}

/// A mark that no debug line has, then topic, QoS, RETAIN and payload.
const FORMAT: &str = "MESSAGE|%t|%q|%r|%p";

fn parse(line: &str) -> Option<Message> {
    let mut parts = line.strip_prefix("MESSAGE|")?.splitn(4, '|');
    let mut part = || parts.next().expect("four parts");
    let topic = part();
    let qos = part().parse().expect("a QoS");
    Some(message(topic, qos, part() == "1", part()))
}
