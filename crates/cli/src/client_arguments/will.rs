//! The last will of a client command.

use clap::{Arg, ArgAction, ArgMatches};
use noctule_client::Will;

use super::qos;

const WILL_TOPIC: &str = "will-topic";
const WILL_PAYLOAD: &str = "will-payload";
const WILL_QOS: &str = "will-qos";
const WILL_RETAIN: &str = "will-retain";

/// The flags about it.
pub(super) fn arguments() -> Vec<Arg> {
    let text = |id: &'static str, name: &'static str| Arg::new(id).long(id).value_name(name);
    let all = [
        text(WILL_TOPIC, "TOPIC").help("Leave a will on this topic"),
        text(WILL_PAYLOAD, "TEXT").help("What the will says [default: nothing]"),
        text(WILL_QOS, "QOS").value_parser(qos).help("QoS of the will [default: 0]"),
        text(WILL_RETAIN, "").action(ArgAction::SetTrue).help("Make the will retained"),
    ];
    let headed = all.into_iter().map(|arg| {
        let is_topic = arg.get_id() == WILL_TOPIC;
        let arg = arg.help_heading("Will");
        if is_topic { arg } else { arg.requires(WILL_TOPIC) }
    });
    headed.collect()
}

/// Reads the flags; without a topic there is none.
pub(super) fn will(arguments: &ArgMatches) -> Option<Will> {
    let topic = arguments.get_one::<String>(WILL_TOPIC)?;
    let payload = arguments.get_one::<String>(WILL_PAYLOAD).cloned().unwrap_or_default();
    let qos = arguments.get_one(WILL_QOS).copied().unwrap_or_default();
    Some(Will::new(topic, payload).qos(qos).retain(arguments.get_flag(WILL_RETAIN)))
}
