//! The flags that all client commands share, and the options of the client library made from them.
//!
//! Where the broker is, is `place`'s matter, the last will is `will`'s, and encryption `security`'s.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use noctule_client::{
    Authentication, Carrier, ClientOptions, Limits, PacketType, ProtocolVersion, QoS, Session, Will,
};

use super::property::{PROPERTY, PropertyOption};
use super::{duration, place, security, will};

pub(super) const USER: &str = "username";
pub(super) const PASSWORD: &str = "pw";
const AUTH_METHOD: &str = "auth-method";
const ID: &str = "id";
const ID_PREFIX: &str = "id-prefix";
const KEEP_ALIVE: &str = "keepalive";
pub(super) const VERSION: &str = "protocol-version";
const KEEP_SESSION: &str = "disable-clean-session";
const EXPIRY: &str = "session-expiry-interval";
const INFLIGHT: &str = "max-inflight";
const BIND: &str = "bind-address";
const HELLO: &str = "hello";
pub(super) const QUIET: &str = "quiet";
const DEBUG: &str = "debug";
pub(super) const WAIT: &str = "wait";
pub(super) const OPTIONS_FILE: &str = "options-file";

/// What the shared flags say.
#[derive(Debug)]
pub(crate) struct Connection {
    /// For the client library.
    pub(crate) options: ClientOptions,
    /// Which MQTT is spoken.
    pub(crate) version: ProtocolVersion,
    /// The topic of the URL.
    pub(crate) topic: Option<String>,
    /// The properties that are not for CONNECT or the will.
    pub(crate) properties: Vec<PropertyOption>,
    /// How long to wait for the broker's greeting, if it was asked for.
    pub(crate) hello: Option<Duration>,
    /// Whether to say nothing of errors.
    pub(crate) quiet: bool,
    /// Whether to tell of each step.
    pub(crate) debug: bool,
    /// Whether to wait for a broker that is not there yet.
    pub(crate) wait: bool,
}

/// The shared flags. `-h` is the host, so help is `--help` alone.
pub(crate) fn arguments() -> Vec<Arg> {
    let text = |id: &'static str| Arg::new(id).long(id).value_name("TEXT");
    let switch = |id: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue);
    let mut all = vec![Arg::new("help").long("help").action(ArgAction::Help).help("Print help")];
    all.extend(place::arguments());
    all.extend([
        text(USER).short('u').value_name("NAME").help("User name"),
        text(PASSWORD).short('P').visible_alias("password").value_name("PASSWORD").help("Password"),
        text(AUTH_METHOD)
            .value_name("METHOD")
            .value_parser(["SCRAM-SHA-256"])
            .ignore_case(true)
            .help("Prove user name and password by this method instead of saying them (MQTT 5)"),
        text(ID).short('i').value_name("ID").help("Client identifier [default: a random one]"),
        text(ID_PREFIX)
            .short('I')
            .value_name("PREFIX")
            .conflicts_with(ID)
            .help("Client identifier made of this and the process id"),
        Arg::new(KEEP_ALIVE)
            .short('k')
            .long(KEEP_ALIVE)
            .value_name("SECONDS")
            .value_parser(value_parser!(u16))
            .help("Seconds without a packet until a ping; 0 for never [default: 60]"),
        text(VERSION)
            .short('V')
            .value_name("VERSION")
            .value_parser(version)
            .help("mqttv31, mqttv311 or mqttv5 (also 31, 311, 5) [default: mqttv311, with -D or --auth-method mqttv5]"),
        switch(KEEP_SESSION)
            .short('c')
            .help("Resume the session, and keep it (needs --id)"),
        text(EXPIRY)
            .short('x')
            .value_name("SECONDS")
            .allow_hyphen_values(true)
            .value_parser(expiry)
            .help("How long the broker keeps the session in MQTT 5; -1 for ever [default: with -c -1, else 0]"),
        Arg::new(INFLIGHT)
            .short('M')
            .long(INFLIGHT)
            .value_name("NUMBER")
            .value_parser(value_parser!(u16).range(1..))
            .help("Messages at QoS 1 and 2 under way at once [default: 100]"),
        Arg::new(BIND)
            .short('A')
            .value_name("ADDRESS")
            .value_parser(value_parser!(IpAddr))
            .help("Connect from this address of the machine"),
        switch("nodelay").hide(true),
        Arg::new(HELLO)
            .long(HELLO)
            .value_name("SECONDS")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("5")
            .value_parser(duration)
            .help("Wait for the broker's greeting first, at most so long [default: 5]"),
        switch(WAIT).help("Wait for a broker that is not there yet"),
        switch(QUIET).help("Do not tell of errors"),
        switch(DEBUG).short('d').help("Tell of each step on standard error"),
        Arg::new(OPTIONS_FILE)
            .short('o')
            .long(OPTIONS_FILE)
            .value_name("FILE")
            .help("Take more options from this file, one per line"),
    ]);
    all.extend(will::arguments());
    all.extend(security::arguments());
    all
}

/// Reads the shared flags.
///
/// # Errors
/// What does not go together, or is not offered.
pub(crate) fn connection(arguments: &ArgMatches) -> Result<Connection, String> {
    let text = |id: &str| arguments.get_one::<String>(id).map(String::as_str);
    let place = place::address(arguments)?;
    let given: Vec<PropertyOption> =
        arguments.get_many(PROPERTY).into_iter().flatten().cloned().collect();
    let needs_v5 = !given.is_empty() || arguments.contains_id(AUTH_METHOD);
    let default = if needs_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
    let version = arguments.get_one(VERSION).copied().unwrap_or(default);
    let topic = place.topic.clone();
    let by_address = place.tls;
    let mut options = ClientOptions::at(place)
        .version(version)
        .subscription_identifiers(false)
        .session(session(arguments)?)
        .limits(limits(arguments));
    options = match security::tls(arguments, by_address)? {
        Some(tls) => {
            security::warn_if_insecure(&tls);
            options.tls(tls)
        }
        None => options.plain(),
    };
    if let Some(id) = text(ID) {
        options = options.client_id(id);
    } else if let Some(prefix) = text(ID_PREFIX) {
        options = options.client_id(format!("{prefix}{}", std::process::id()));
    }
    if let Some(name) = text(USER) {
        options = options.user_name(name);
    }
    if let Some(password) = text(PASSWORD) {
        options = options.password(password.as_bytes().to_vec());
    }
    if arguments.contains_id(AUTH_METHOD) {
        options = options.authentication(Authentication::ScramSha256);
    }
    if let Some(seconds) = arguments.get_one(KEEP_ALIVE) {
        options = options.keep_alive_seconds(*seconds);
    }
    if let Some(address) = arguments.get_one(BIND) {
        options = options.bind_address(*address);
    }
    let (properties, will) = (given, will::will(arguments));
    let (options, properties) = with_properties(options, will, properties)?;
    Ok(Connection {
        options,
        version,
        topic,
        properties,
        hello: arguments.get_one(HELLO).copied(),
        quiet: arguments.get_flag(QUIET),
        debug: arguments.get_flag(DEBUG),
        wait: arguments.get_flag(WAIT),
    })
}

/// As [`connection`], and MQTT 5 unless the user says otherwise: what is new with this program need
/// not speak what mosquitto's does.
///
/// # Errors
/// What does not go together, or is not offered.
pub(crate) fn connection_v5(arguments: &ArgMatches) -> Result<Connection, String> {
    let mut connection = connection(arguments)?;
    if !arguments.contains_id(VERSION) {
        connection.version = ProtocolVersion::V5;
        connection.options = connection.options.version(ProtocolVersion::V5);
    }
    Ok(connection)
}

fn session(arguments: &ArgMatches) -> Result<Session, String> {
    let keep = arguments.get_flag(KEEP_SESSION);
    if keep && !arguments.contains_id(ID) && !arguments.contains_id(ID_PREFIX) {
        return Err("--disable-clean-session (-c) needs --id: a session belongs to a client \
                    identifier"
            .into());
    }
    let expiry: Option<u32> = arguments.get_one(EXPIRY).copied();
    let for_ever = u32::MAX;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(match (keep, expiry) {
        (true, expiry) => Session::Persistent(seconds(expiry.unwrap_or(for_ever))),
        (false, Some(1..)) => Session::Fresh(seconds(expiry.unwrap_or_default())),
        (false, None | Some(0)) => Session::Connection,
    })
}

fn limits(arguments: &ArgMatches) -> Limits {
    let inflight_count_max = arguments.get_one(INFLIGHT).copied().unwrap_or(100);
    // As mosquitto_sub does: whoever wants aliases asks for them with `-D connect`, and what is printed
    // of a message does not depend on what the broker makes of it.
    Limits { inflight_count_max, topic_alias_maximum: 0, ..Limits::default() }
}

/// Hands each property to whom it is for; those that are left are the command's.
fn with_properties(
    mut options: ClientOptions,
    mut will: Option<Will>,
    given: Vec<PropertyOption>,
) -> Result<(ClientOptions, Vec<PropertyOption>), String> {
    let mut left = Vec::new();
    for option in given {
        match (option.carrier(), will.take()) {
            (Carrier::Packet(PacketType::Connect), kept) => {
                options = options.property(option.property());
                will = kept;
            }
            (Carrier::Will, Some(known)) => will = Some(known.property(option.property())),
            (Carrier::Will, None) => return Err("a property of the will needs --will-topic".into()),
            (_, kept) => {
                will = kept;
                left.push(option);
            }
        }
    }
    if let Some(will) = will {
        options = options.will(will);
    }
    Ok((options, left))
}

/// `-V`.
fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text.trim_start_matches("mqttv") {
        "31" | "3.1" | "3" => Ok(ProtocolVersion::V31),
        "311" | "3.1.1" | "4" => Ok(ProtocolVersion::V311),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        _ => Err(format!("expected mqttv31, mqttv311 or mqttv5, found \"{text}\"")),
    }
}

/// `-x`.
fn expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        text => {
            text.parse().map_err(|_| format!("expected seconds, or -1 for ever, found \"{text}\""))
        }
    }
}

/// A QoS on a command line.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    let number = text.parse().ok().and_then(QoS::from_bits);
    number.ok_or_else(|| format!("expected 0, 1 or 2, found \"{text}\""))
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Command;

    use super::super::property_argument;
    use super::*;

    pub(in super::super) fn read(line: &[&str]) -> Result<Connection, String> {
        let command = Command::new("test")
            .disable_help_flag(true)
            .args_override_self(true)
            .args(arguments())
            .arg(property_argument("connect receive-maximum 10"));
        let line = [&["test"], line].concat();
        let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
        connection(&matches)
    }

    #[test]
    fn the_version_is_that_of_mosquitto_unless_properties_are_given() {
        assert_eq!(read(&[]).unwrap().version, ProtocolVersion::V311);
        let property = "connect\u{1f}receive-maximum\u{1f}7";
        assert_eq!(read(&["-D", property]).unwrap().version, ProtocolVersion::V5);
        assert_eq!(read(&["--auth-method", "scram-sha-256"]).unwrap().version, ProtocolVersion::V5);
        assert!(read(&["--auth-method", "GSSAPI"]).unwrap_err().contains("SCRAM-SHA-256"));
        for (text, version) in [("mqttv31", ProtocolVersion::V31), ("5", ProtocolVersion::V5)] {
            assert_eq!(read(&["-V", text]).unwrap().version, version);
        }
        assert!(read(&["-V", "6"]).unwrap_err().contains("mqttv311"));
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        assert!(read(&["-c"]).unwrap_err().contains("needs --id"));
        assert!(read(&["--key", "k", "--tls"]).unwrap_err().contains("--key needs --cert"));
        assert!(read(&["--psk", "00"]).unwrap_err().contains("use certificates"));
        assert!(read(&["--will-payload", "x"]).unwrap_err().contains("--will-topic"));
        let will = "will\u{1f}will-delay-interval\u{1f}7";
        assert!(read(&["-D", will]).unwrap_err().contains("--will-topic"));
        assert!(read(&["-D", will, "--will-topic", "t"]).is_ok());
        assert!(read(&["-x", "-1"]).is_ok());
        assert!(read(&["-x", "soon"]).unwrap_err().contains("-1 for ever"));
    }

    #[test]
    fn the_greeting_has_a_patience_of_five_seconds() {
        let hello = |line: &[&str]| read(line).unwrap().hello.map(|wait| wait.as_secs());
        assert_eq!(
            (hello(&[]), hello(&["--hello"]), hello(&["--hello=9"])),
            (None, Some(5), Some(9))
        );
    }
}
