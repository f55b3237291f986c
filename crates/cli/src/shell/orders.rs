//! What can be typed, and how it is read.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_client::{Publish, QoS, Subscribe};

use super::words::split;
use crate::client_arguments::{self, Connection, PropertyOption, joined, property_argument, qos};

/// What a person wants.
#[derive(Debug)]
pub(crate) enum Order {
    /// A new connection, with these flags or the ones before.
    Connect(Option<Box<Connection>>),
    Disconnect,
    Subscribe(Vec<Subscribe>, Vec<String>),
    Unsubscribe(Vec<String>),
    Publish(String, Publish),
    Status,
    /// Text to show.
    Show(String),
    Quit,
}

/// Names and descriptions, for completion and help.
const ORDERS: &[(&str, &str)] = &[
    ("connect", "connect [FLAGS] [URL]: connect anew; without flags as before"),
    ("disconnect", "end the connection"),
    ("sub", "sub [-q QOS] [--no-local] TOPIC...: subscribe and show what comes"),
    ("unsub", "unsub TOPIC...: end subscriptions"),
    ("pub", "pub [-q QOS] [-r] [-D ...] TOPIC [TEXT...]: publish; -t and -m do as well, -f a file"),
    ("status", "how the connection is"),
    ("help", "help [ORDER]: this, or all flags of an order"),
    ("quit", "leave, as Ctrl-D does"),
];

/// The names of the orders.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ORDERS.iter().map(|(name, _)| *name)
}

/// All orders, a line each.
pub(crate) fn summary() -> String {
    ORDERS.iter().map(|(name, about)| format!("  {name:<11} {about}\n")).collect()
}

/// Reads a line; `None` if there is nothing in it.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub(crate) fn read(line: &str) -> Result<Option<Order>, String> {
    let words = split(line)?;
    let Some(first) = words.first() else { return Ok(None) };
    if first == "help" && words.len() == 1 {
        return Ok(Some(Order::Show(summary())));
    }
    if first == "help" {
        return help(&words[1]).map(Some);
    }
    let words = joined(words.into_iter().map(OsString::from));
    match language().try_get_matches_from(words) {
        Ok(matches) => order(&matches).map(Some),
        Err(answer) if answer.exit_code() == 0 => Ok(Some(Order::Show(answer.to_string()))),
        Err(answer) => Err(answer.to_string()),
    }
}

fn help(name: &str) -> Result<Order, String> {
    let mut language = language();
    let order = language.find_subcommand_mut(name);
    let order =
        order.ok_or_else(|| format!("\"{name}\" is no order; these are:\n{}", summary()))?;
    Ok(Order::Show(order.render_help().to_string()))
}

fn language() -> Command {
    let order = |name: &'static str| {
        let (_, about) = ORDERS.iter().find(|(known, _)| *known == name).unwrap_or(&ORDERS[0]);
        Command::new(name).about(*about)
    };
    let topics = Arg::new(TOPICS).value_name("TOPIC").num_args(1..);
    let quality = Arg::new(QOS).short('q').long(QOS).value_parser(qos).help("0, 1 or 2");
    Command::new("shell")
        .no_binary_name(true)
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .subcommand_required(true)
        .subcommands([
            order("connect")
                .disable_help_flag(true)
                .args(client_arguments::arguments())
                .arg(property_argument("-D connect receive-maximum 10")),
            order("disconnect"),
            order("sub")
                .arg(topics.clone().required_unless_present(TOPIC))
                .arg(
                    Arg::new(TOPIC)
                        .short('t')
                        .long(TOPIC)
                        .value_name("TOPIC")
                        .action(ArgAction::Append)
                        .help("As TOPIC; may be repeated"),
                )
                .arg(quality.clone())
                .arg(
                    Arg::new(NO_LOCAL)
                        .long(NO_LOCAL)
                        .action(ArgAction::SetTrue)
                        .help("Leave out messages of this shell (MQTT 5)"),
                ),
            order("unsub").arg(topics.required(true)),
            order("pub")
                .args(publish_arguments())
                .arg(quality)
                .arg(property_argument("-D publish content-type text/plain")),
            order("status"),
            order("quit").visible_alias("exit"),
        ])
}

fn publish_arguments() -> [Arg; 7] {
    let flag = |id: &'static str, short: char| Arg::new(id).short(short).long(id);
    [
        Arg::new(FIRST).value_name("TOPIC").help("Where to"),
        Arg::new(TEXT)
            .value_name("TEXT")
            .num_args(0..)
            .allow_hyphen_values(true)
            .help("The message; flags stand before it"),
        flag(TOPIC, 't').value_name("TOPIC").help("Where to; then all words are text"),
        flag(MESSAGE, 'm').value_name("TEXT").allow_hyphen_values(true).help("The text"),
        flag(FILE, 'f')
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with(MESSAGE)
            .help("The message is what this file holds"),
        flag(NULL, 'n')
            .action(ArgAction::SetTrue)
            .conflicts_with_all([MESSAGE, FILE])
            .help("An empty message"),
        flag(RETAIN, 'r').action(ArgAction::SetTrue).help("Have the broker keep it"),
    ]
}

const TOPICS: &str = "topics";
const FIRST: &str = "first";
const TEXT: &str = "text";
const MESSAGE: &str = "message";
const FILE: &str = "file";
const NULL: &str = "null-message";
const NO_LOCAL: &str = "no-local";
const TOPIC: &str = "topic";
const QOS: &str = "qos";
const RETAIN: &str = "retain";

fn order(matches: &ArgMatches) -> Result<Order, String> {
    let Some((name, arguments)) = matches.subcommand() else { return Err(summary()) };
    let texts = |id: &str| -> Vec<String> {
        arguments.get_many(id).into_iter().flatten().cloned().collect()
    };
    Ok(match name {
        "connect" if arguments.args_present() => {
            Order::Connect(Some(Box::new(client_arguments::connection_v5(arguments)?)))
        }
        "connect" => Order::Connect(None),
        "disconnect" => Order::Disconnect,
        "sub" => {
            let qos: QoS = arguments.get_one(QOS).copied().unwrap_or_default();
            let no_local = arguments.get_flag(NO_LOCAL);
            let topics = [texts(TOPICS), texts(TOPIC)].concat();
            let subscribe = |topic: &str| Subscribe::new(topic).qos(qos).no_local(no_local);
            let wanted = topics.iter().map(|topic| subscribe(topic));
            Order::Subscribe(wanted.collect(), topics)
        }
        "unsub" => Order::Unsubscribe(texts(TOPICS)),
        "pub" => publish(arguments, [texts(FIRST), texts(TEXT)].concat())?,
        "status" => Order::Status,
        _ => Order::Quit,
    })
}

fn publish(arguments: &ArgMatches, words: Vec<String>) -> Result<Order, String> {
    let mut words = words.into_iter();
    let topic = arguments.get_one::<String>(TOPIC).cloned().or_else(|| words.next());
    let topic = topic.ok_or_else(|| "pub: where to? TOPIC is missing".to_owned())?;
    let payload = payload(arguments, words)?;
    let qos = arguments.get_one(QOS).copied().unwrap_or_default();
    let message = Publish::new(topic.as_str(), payload).qos(qos).retain(arguments.get_flag(RETAIN));
    let properties = arguments.get_many::<PropertyOption>(client_arguments::PROPERTY);
    let properties = properties.into_iter().flatten().map(PropertyOption::property);
    Ok(Order::Publish(topic, properties.fold(message, Publish::property)))
}

/// The message: what a flag says, or the words that are left.
fn payload(arguments: &ArgMatches, words: impl Iterator<Item = String>) -> Result<Vec<u8>, String> {
    let words: Vec<_> = words.collect();
    let file = arguments.get_one::<PathBuf>(FILE);
    let text = arguments.get_one::<String>(MESSAGE);
    if !words.is_empty() && (file.is_some() || text.is_some() || arguments.get_flag(NULL)) {
        return Err(format!("pub: a flag gives the message; what is \"{}\"?", words.join(" ")));
    }
    match (file, text) {
        (Some(file), _) => std::fs::read(file)
            .map_err(|error| format!("pub: cannot read {}: {error}", file.display())),
        (None, Some(text)) => Ok(text.clone().into_bytes()),
        (None, None) => Ok(words.join(" ").into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Order {
        read(line).unwrap().expect("an order")
    }

    #[test]
    fn every_order_is_read() {
        assert!(matches!(order("connect"), Order::Connect(None)));
        let Order::Connect(Some(connection)) = order("connect mqtt://h:7 -V 5") else { panic!() };
        assert_eq!(connection.options.address().to_string(), "h:7");
        assert!(
            matches!(order("sub -q 1 a/# b"), Order::Subscribe(wanted, _) if wanted.len() == 2)
        );
        assert!(matches!(order("unsub a"), Order::Unsubscribe(topics) if topics == ["a"]));
        assert!(matches!(order("pub a two words"), Order::Publish(topic, _) if topic == "a"));
        let property = "pub -r -q 2 -D publish user-property a b t '{\"x\": 1}'";
        assert!(matches!(order(property), Order::Publish(topic, _) if topic == "t"));
        let by_flags = "pub -t a -m 'two words' -q 1 -r";
        assert!(matches!(order(by_flags), Order::Publish(topic, _) if topic == "a"));
        assert!(matches!(order("pub -t a two words"), Order::Publish(topic, _) if topic == "a"));
        assert!(matches!(order("pub a -n"), Order::Publish(topic, _) if topic == "a"));
        assert!(matches!(
            order("sub -t a -t b --no-local"),
            Order::Subscribe(wanted, topics) if wanted.len() == 2 && topics == ["a", "b"]
        ));
        assert!(matches!(order("exit"), Order::Quit));
        assert!(matches!(order("status"), Order::Status));
        assert!(read("  ").unwrap().is_none());
    }

    #[test]
    fn help_and_faults_say_what_can_be_typed() {
        let Order::Show(all) = order("help") else { panic!() };
        for name in names() {
            assert!(all.contains(&format!("  {name} ")), "{all}");
        }
        assert!(matches!(order("help pub"), Order::Show(text) if text.contains("--retain")));
        assert!(read("subb x").unwrap_err().contains("'sub'"));
        assert!(read("sub").unwrap_err().contains("TOPIC"));
        assert!(read("pub").unwrap_err().contains("TOPIC"));
        assert!(read("pub -m c a b").unwrap_err().contains("what is \"b\"?"));
        assert!(read("pub a -f no-such-file").unwrap_err().contains("cannot read no-such-file"));
        assert!(read("help x").unwrap_err().contains("connect"));
        assert!(read("pub a -q 3").unwrap_err().contains("0, 1 or 2"));
    }
}
