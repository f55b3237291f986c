//! From sources to a configuration: defaults, then file, then environment, then flags.
//!
//! The process environment is read here and nowhere else. Invariant: a configuration comes out
//! only if no source had a problem, even one that a stronger source would have overruled.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::choice::CertificateUser;
use super::environment::read_variables;
use super::file::{read_file, read_text};
use super::limit::Auto;
use super::listener::Listener;
use super::problem::{Place, Problem, Problems};
use super::spec::OptionSpec;
use super::table::Config;
use super::value::Given;
use crate::mosquitto::{self, Note, Translation};
use crate::privileges;
use noctule_broker::Mount;

/// Where settings come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if one was named; there is no file that is read unasked.
    pub file: Option<PathBuf>,
    /// What it is written in.
    pub dialect: Dialect,
    /// Environment variables; those without our prefix are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Options that were given as flags, in their order, with their text.
    pub flags: Vec<(&'static OptionSpec, String)>,
}

/// What a configuration file is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Our TOML.
    #[default]
    Ours,
    /// Mosquitto's. Without a file Mosquitto's defaults hold.
    Mosquitto {
        /// Where to listen if the file does not say it.
        port: Option<u16>,
    },
}

/// A configuration, and what its operator should hear about it.
#[derive(Debug)]
pub struct Loaded {
    /// What to run with.
    pub config: Config,
    /// What has no effect and was probably meant to have one.
    pub warnings: Vec<Problem>,
    /// What is to be said of the lines of a `mosquitto.conf`.
    pub notes: Vec<Note>,
    /// Where the process is to write its number, if the file says so.
    pub pid_file: Option<PathBuf>,
}

impl Sources {
    /// A file and flags, with the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static OptionSpec, String)>) -> Self {
        let dialect = Dialect::Ours;
        Self { file, dialect, environment: std::env::vars_os().collect(), flags }
    }

    /// Reads all sources.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        let (mut notes, mut pid_file) = (Vec::new(), None);
        match (self.dialect, &self.file) {
            (Dialect::Mosquitto { port }, file) => {
                match read_mosquitto(file.as_deref(), port, &mut config) {
                    Ok(translation) => {
                        (notes, pid_file) = (translation.notes, translation.pid_file);
                    }
                    Err(found) => problems.extend(found),
                }
            }
            (Dialect::Ours, Some(file)) => problems.extend(read_file(file, &mut config)),
            (Dialect::Ours, None) => {}
        }
        let environment = read_variables(&self.environment, &mut config);
        problems.extend(environment.problems);
        problems.extend(self.read_flags(&mut config));
        // Values that were refused left their defaults behind; those must not be held against
        // each other.
        if problems.is_empty() {
            problems.extend(contradictions(&config));
        }
        if problems.is_empty() {
            Ok(Loaded { config, warnings: environment.warnings, notes, pid_file })
        } else {
            Err(Problems(problems))
        }
    }

    fn read_flags(&self, config: &mut Config) -> Vec<Problem> {
        let problem = |(spec, text): &(&OptionSpec, String)| {
            let message = spec.apply(config, &Given::Words(text.clone())).err()?;
            let flag = spec.flags().first().copied().unwrap_or(spec.key());
            Some(Problem { place: Place::Flag(flag), message })
        };
        self.flags.iter().filter_map(problem).collect()
    }
}

/// Reads a `mosquitto.conf` into `config`.
///
/// # Errors
/// What is wrong with it, and with it what else is to be said of its lines.
fn read_mosquitto(
    file: Option<&Path>,
    port: Option<u16>,
    config: &mut Config,
) -> Result<Translation, Vec<Problem>> {
    let problem = |Note { place, text, .. }| {
        let line = |(file, line)| Place::Row { file, line };
        Problem { place: place.map_or(Place::Together, line), message: text }
    };
    let translation = mosquitto::translate(file, port)
        .map_err(|notes| notes.into_iter().map(problem).collect::<Vec<_>>())?;
    let name = file.unwrap_or(Path::new("mosquitto's defaults"));
    let problems = read_text(name, &translation.toml, config);
    if !translation.names_user {
        config.user = privileges::usual_user();
    }
    if problems.is_empty() { Ok(translation) } else { Err(problems) }
}

/// The configuration that a text in our words says by itself; `name` is what problems call it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(name: &Path, text: &str) -> Result<Config, Problems> {
    let mut config = Config::default();
    let mut problems = read_text(name, text, &mut config);
    if problems.is_empty() {
        problems.extend(contradictions(&config));
    }
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// Settings that are each right and do not go together.
fn contradictions(config: &Config) -> Option<Problem> {
    let listeners = config.all_listeners();
    let of_one = |listener: &Listener| {
        let message = files_apart(&listener.config)
            .or_else(|| proxies_apart(&listener.config))
            .or_else(|| bad_mount(&listener.config))?;
        Some(listener.label().map_or(message.clone(), |label| format!("{label}: {message}")))
    };
    let message = same_port(config)
        .or_else(|| same_name(&listeners))
        .or_else(|| same_address(&listeners))
        .or_else(|| same_socket(&listeners))
        .or_else(|| two_places(config, &listeners))
        .or_else(|| listeners.iter().find_map(of_one))?;
    Some(Problem { place: Place::Together, message })
}

fn same_name(listeners: &[Listener]) -> Option<String> {
    let named = listeners.iter().filter(|listener| !listener.config.listener.name.is_empty());
    let names: Vec<&str> = named.map(|listener| &*listener.config.listener.name).collect();
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))?.1;
    Some(format!("two listeners are called {twice:?}: give each a name of its own"))
}

/// Two listeners that would want the same port of the same address.
fn same_address(listeners: &[Listener]) -> Option<String> {
    let is_written = |listener: &&Listener| {
        listener.is_written && listener.config.port != 0 && listener.unix_path().is_none()
    };
    let written: Vec<&Listener> = listeners.iter().filter(is_written).collect();
    for (at, one) in written.iter().enumerate() {
        for other in &written[..at] {
            let port = one.config.port;
            let shared = one.config.bind.iter().find(|address| other.config.bind.contains(address));
            if let (true, Some(address)) = (port == other.config.port, shared) {
                let (one, other) = (one.label()?, other.label()?);
                return Some(format!(
                    "{other} and {one} both listen on port {port} of {address}: choose another \
                     `port` or `bind` for one of them"
                ));
            }
        }
    }
    None
}

/// Two listeners that would want the same Unix socket.
fn same_socket(listeners: &[Listener]) -> Option<String> {
    for (at, one) in listeners.iter().enumerate() {
        let path = one.unix_path();
        let same = |other: &&Listener| path.is_some() && other.unix_path() == path;
        if let Some(other) = listeners[..at].iter().find(same) {
            let (one, other) = (one.label()?, other.label()?);
            let said = "both listen on the same Unix socket: choose another `unix` for one of them";
            return Some(format!("{other} and {one} {said}"));
        }
    }
    None
}

/// A listener that would have to be a Unix socket and a port.
fn two_places(config: &Config, listeners: &[Listener]) -> Option<String> {
    let mut written = config.listeners.iter().zip(listeners);
    let (_, listener) = written.find(|(table, listener)| {
        listener.unix_path().is_some() && (table.says_key("port") || table.says_key("bind"))
    })?;
    let label = listener.label()?;
    Some(format!("{label}: a Unix socket has no `port` and no `bind`: remove them, or `unix`"))
}

/// A mount point that is not the beginning of topics.
fn bad_mount(config: &Config) -> Option<String> {
    let prefix = &config.listener.mount_point;
    let is_good = prefix.is_empty() || Mount::new(prefix).is_some();
    (!is_good).then(|| {
        format!("`mount_point` has to end with `/` and to have no wildcard; it is {prefix:?}")
    })
}

/// What is said of proxies, and of what they say, that cannot hold.
fn proxies_apart(config: &Config) -> Option<String> {
    let has_proxies = !config.proxies.is_empty();
    let user = config.certificate_user;
    let words = if config.proxies_only && !has_proxies {
        "`proxies_only` is set and there are no `proxies`: nobody could connect"
    } else if config.proxy_certificates && !has_proxies {
        "`proxy_certificates` is set and there are no `proxies` to believe"
    } else if config.proxy_certificates
        && !matches!(user, CertificateUser::None | CertificateUser::CommonName)
    {
        "with `proxy_certificates` a proxy says the common name and nothing else: set \
         `certificate_user` to `common-name` or `none`"
    } else {
        return None;
    };
    Some(words.to_owned())
}

/// Two of the usual listeners that would want the same port.
fn same_port(config: &Config) -> Option<String> {
    if !config.listeners.is_empty() {
        return None;
    }
    let ports = [
        ("port", Some(config.port)),
        ("tls_port", config.tls.then_some(config.tls_port)),
        ("ws_port", config.ws_port.get().copied()),
        ("wss_port", config.wss_port.get().copied()),
    ];
    let ports: Vec<_> = ports.into_iter().filter_map(|(key, port)| Some((key, port?))).collect();
    for (at, (key, port)) in ports.iter().enumerate().filter(|(_, (_, port))| *port != 0) {
        let Some((other, _)) = ports[..at].iter().find(|(_, other)| other == port) else {
            continue;
        };
        let off = match *key {
            "tls_port" => "turn TLS off (`tls = false`, --no-tls)".to_owned(),
            key => format!("turn `{key}` off (`none`)"),
        };
        return Some(format!(
            "`{other}` and `{key}` are both {port}: choose another for one of them, or {off}"
        ));
    }
    None
}

fn files_apart(config: &Config) -> Option<String> {
    let words = match (&config.cert, &config.key) {
        (Auto::Set(_), Auto::Auto) => {
            "`cert` is set and `key` is not: set both; one file may hold both"
        }
        (Auto::Auto, Auto::Set(_)) => {
            "`key` is set and `cert` is not: set both; one file may hold both"
        }
        _ if config.client_crl.get().is_some() && config.client_ca.get().is_none() => {
            "`client_crl` is set and `client_ca` is not: a revocation list is for the certificates \
             of clients"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::table::OPTIONS;
    use super::super::walks::TestFile;
    use super::*;

    fn flag(key: &str, text: &str) -> (&'static OptionSpec, String) {
        (OPTIONS.iter().find(|spec| spec.key() == key).unwrap(), text.to_owned())
    }

    fn variable(name: &str, value: &str) -> (OsString, OsString) {
        (name.into(), value.into())
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
        let file = TestFile::new("precedence");
        let text = "port = 2\nbind = \"127.0.0.2\"\nverbose = true\n[limits]\nqos2_ids_max = 2\n";
        fs::write(file.path(), text).unwrap();
        let sources = Sources {
            dialect: Dialect::Ours,
            file: Some(file.path().to_owned()),
            environment: vec![
                variable("NOCTULE_PORT", "3"),
                variable("NOCTULE_LIMITS_QOS2_IDS_MAX", "3"),
            ],
            flags: vec![flag("port", "4"), flag("port", "5")],
        };
        let config = sources.load().unwrap().config;
        assert_eq!(config.port, 5, "the last flag");
        assert_eq!(config.limits.qos2_ids_max, 3, "environment over file");
        assert_eq!(config.bind[0].to_string(), "127.0.0.2", "file over default");
        assert!(config.verbose, "file over default");
        assert_eq!(config.tls_port, 8883, "default");
    }

    #[test]
    fn without_sources_there_are_the_defaults() {
        let loaded = Sources::default().load().unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn problems_of_all_sources_come_together() {
        let file = TestFile::new("all-problems");
        fs::write(file.path(), "prot = 1\n").unwrap();
        let sources = Sources {
            dialect: Dialect::Ours,
            file: Some(file.path().to_owned()),
            environment: vec![variable("NOCTULE_TLS", "maybe")],
            flags: vec![flag("limits.memory_max", "0")],
        };
        let problems = sources.load().unwrap_err();
        let text = problems.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with(":1:1: unknown key \"prot\"; the nearest one is `port`"));
        assert_eq!(
            lines[1],
            "environment variable NOCTULE_TLS: expected `true` or `false`, found \"maybe\""
        );
        assert!(lines[2].starts_with("--memory-max: expected a size of at least 1MiB"), "{text}");
    }

    #[test]
    fn a_problem_that_a_flag_would_overrule_is_still_one() {
        let sources = Sources {
            environment: vec![variable("NOCTULE_PORT", "x")],
            flags: vec![flag("port", "1")],
            ..Sources::default()
        };
        assert_eq!(sources.load().unwrap_err().0.len(), 1);
    }

    #[test]
    fn one_port_for_both_listeners_is_refused_unless_one_is_off_or_free() {
        let load = |flags| Sources { flags, ..Sources::default() }.load();
        let problems = load(vec![flag("port", "8883")]).unwrap_err();
        assert!(problems.to_string().starts_with("`port` and `tls_port` are both 8883"));
        assert!(load(vec![flag("port", "8883"), flag("tls", "false")]).is_ok());
        assert!(load(vec![flag("port", "0"), flag("tls_port", "0")]).is_ok());
    }

    #[test]
    fn files_of_tls_that_belong_together_are_set_together() {
        let load = |flags: &[(&str, &str)]| {
            let flags = flags.iter().map(|(key, text)| flag(key, text)).collect();
            Sources { flags, ..Sources::default() }.load()
        };
        let problem = |flags| load(flags).unwrap_err().to_string();
        assert!(problem(&[("cert", "a")]).starts_with("`cert` is set and `key` is not"));
        assert!(problem(&[("key", "a")]).starts_with("`key` is set and `cert` is not"));
        assert!(problem(&[("client_crl", "a")]).starts_with("`client_crl` is set"));
        assert!(load(&[("cert", "a"), ("key", "a"), ("client_auth", "optional")]).is_ok());
        assert!(load(&[("client_crl", "a"), ("client_ca", "a")]).is_ok());
    }

    #[test]
    fn listeners_that_get_in_each_others_way_are_named() {
        let file = TestFile::new("listeners-together");
        let problem = |text: &str| {
            fs::write(file.path(), text).unwrap();
            let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
            sources.load().map(|_| ()).map_err(|problems| problems.to_string())
        };
        let one = "[[listener]]\nname = \"a\"\nport = 1\n";
        assert_eq!(problem(&format!("tls_port = 1883\n{one}")), Ok(()), "no listener of the top");
        assert_eq!(
            problem(&format!("{one}{one}")).unwrap_err(),
            "two listeners are called \"a\": give each a name of its own"
        );
        assert_eq!(
            problem(&format!("{one}[[listener]]\nport = 1\n")).unwrap_err(),
            "listener \"a\" and listener 2 of the file both listen on port 1 of 127.0.0.1: choose \
             another `port` or `bind` for one of them"
        );
        let apart = format!("{one}[[listener]]\nport = 1\nbind = \"127.0.0.2\"\n");
        assert_eq!(problem(&apart), Ok(()));
        let unix = "[[listener]]\nunix = \"a.sock\"\n";
        assert_eq!(problem(&format!("{one}{unix}")), Ok(()));
        assert_eq!(
            problem(&format!("{unix}{unix}")).unwrap_err(),
            "listener 1 of the file and listener 2 of the file both listen on the same Unix socket: \
             choose another `unix` for one of them"
        );
        let said = problem(&format!("{unix}port = 1\n")).unwrap_err();
        assert!(said.starts_with("listener 1 of the file: a Unix socket has no `port`"), "{said}");
        let said = problem(&format!("{one}cert = \"c\"\n")).unwrap_err();
        assert!(said.starts_with("listener \"a\": `cert` is set and `key` is not"), "{said}");
    }

    #[test]
    fn what_proxies_say_needs_proxies_to_say_it() {
        let load = |flags: &[(&str, &str)]| {
            let flags = flags.iter().map(|(key, text)| flag(key, text)).collect();
            let loaded = Sources { flags, ..Sources::default() }.load();
            loaded.map(|_| ()).map_err(|problems| problems.to_string())
        };
        assert!(load(&[("proxies_only", "true")]).unwrap_err().contains("nobody could connect"));
        assert!(load(&[("proxy_certificates", "true")]).unwrap_err().contains("to believe"));
        let (proxies, believed) = (("proxies", "10.0.0.0/8,unix"), ("proxy_certificates", "true"));
        assert_eq!(load(&[proxies, believed, ("proxies_only", "true")]), Ok(()));
        assert_eq!(load(&[proxies, believed, ("certificate_user", "common-name")]), Ok(()));
        let subject = load(&[proxies, believed, ("certificate_user", "subject")]).unwrap_err();
        assert!(subject.contains("the common name and nothing else"), "{subject}");
    }

    #[test]
    fn the_unix_socket_of_the_top_is_a_listener_of_its_own() {
        let load = |flags| Sources { flags, ..Sources::default() }.load().unwrap().config;
        let config = load(vec![flag("unix", "a.sock"), flag("tls", "false")]);
        let listeners = config.all_listeners();
        let paths: Vec<_> = listeners.iter().map(Listener::unix_path).collect();
        assert_eq!(paths, [None, Some(Path::new("a.sock"))]);
        let text = "unix = \"top\"\n[[listener]]\n[[listener]]\nunix = \"own\"\n";
        let config = super::super::config_of(text);
        let listeners = config.all_listeners();
        let paths: Vec<_> = listeners.iter().map(Listener::unix_path).collect();
        assert_eq!(paths, [None, Some(Path::new("own"))]);
    }

    #[test]
    fn warnings_do_not_stop_the_start() {
        let environment = vec![variable("NOCTULE_BOGUS", "1")];
        let loaded = Sources { environment, ..Sources::default() }.load().unwrap();
        assert_eq!(loaded.warnings.len(), 1);
    }
}
