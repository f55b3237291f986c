//! Listeners: what a table `[[listener]]` says, and what comes of it with the options at the top of the
//! file.
//!
//! A listener's options are rows of the one table; what it does not say it has from the configuration
//! around it. Invariant: what a table says was accepted by its rows when it was read.

use super::choice::Transport;
use super::limit::Optional;
use super::spec::OptionSpec;
use super::table::{Config, LISTENER_OPTIONS, OPTIONS};
use super::value::Given;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// More of them have no number.
pub(crate) const LISTENERS_MAX: usize = 200;

/// What a table `[[listener]]` says, not yet laid over the configuration around it.
#[derive(Clone, Debug, Default)]
pub struct ListenerTable {
    entries: Vec<(&'static OptionSpec, Given)>,
}

impl PartialEq for ListenerTable {
    /// Whether both say the same of the same options.
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().all(|(spec, _)| {
                let said = |table: &Self| {
                    table.says(spec).then(|| spec.to_toml(&table.over(&Config::default())))
                };
                said(self) == said(other)
            })
    }
}

/// A listener with all that applies to it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its number among the listeners.
    pub number: usize,
    /// Whether it has a table of its own.
    pub is_written: bool,
    /// The configuration, with what the listener says for itself; its `port` is the one to listen on.
    pub config: Config,
}

impl Listener {
    /// What is spoken there under MQTT.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.config.listener.transport
    }

    /// How messages call it: by its name, or by its place in the file. None if nobody has written it.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        let name = &self.config.listener.name;
        match (self.is_written, name.is_empty()) {
            (false, _) => None,
            (true, false) => Some(format!("listener {name:?}")),
            (true, true) => Some(format!("listener {} of the file", self.number + 1)),
        }
    }

    /// Whether this may be taken for another one in another reading of the file: what is said of one
    /// must not come to hold at the place of another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (&self.config, &other.config);
        let has_its_name =
            !own.listener.name.is_empty() && own.listener.name == others.listener.name;
        let has_its_place = own.port == others.port
            && own.bind == others.bind
            && own.unix == others.unix
            && self.transport() == other.transport();
        has_its_name || has_its_place
    }

    /// The path of the Unix socket that it is, if it is one.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        self.config.unix.get().map(PathBuf::as_path)
    }

    /// Whether nobody but programs of this machine reaches it.
    #[must_use]
    pub fn is_for_this_machine(&self) -> bool {
        self.unix_path().is_some() || self.config.bind.iter().all(IpAddr::is_loopback)
    }

    /// The flag or key that chooses its port.
    #[must_use]
    pub fn port_key(&self) -> &'static str {
        match (self.is_written, self.transport()) {
            (true, _) => "`port`",
            (false, Transport::Tcp) => "--port",
            (false, Transport::Tls) => "--tls-port",
            (false, Transport::Ws) => "--ws-port",
            (false, Transport::Wss) => "--wss-port",
        }
    }
}

impl ListenerTable {
    /// Adds what the table says of an option.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub(crate) fn say(&mut self, spec: &'static OptionSpec, given: Given) -> Result<(), String> {
        spec.apply(&mut Config::default(), &given)?;
        self.entries.push((spec, given));
        Ok(())
    }

    /// Whether it says something of an option.
    pub(crate) fn says(&self, spec: &OptionSpec) -> bool {
        self.entries.iter().any(|(said, _)| said.key == spec.key)
    }

    /// The same by the option's name.
    pub(crate) fn says_key(&self, key: &str) -> bool {
        self.entries.iter().any(|(said, _)| said.key == key)
    }

    /// The configuration with what the table says.
    pub(crate) fn over(&self, config: &Config) -> Config {
        let mut over = config.clone();
        over.listeners.clear();
        for (spec, given) in &self.entries {
            let applied = spec.apply(&mut over, given);
            debug_assert!(applied.is_ok(), "it was accepted when it was read: {applied:?}");
        }
        if !self.says_key("unix") {
            // That of the top is a listener of its own.
            over.unix = Optional::None;
        }
        if !self.entries.iter().any(is_port) {
            over.port = config.usual_port(over.listener.transport);
        }
        over
    }

    /// What this one says, but of those options that are `taken` what `new` says.
    pub(crate) fn with_those_of(&self, new: &Self, taken: impl Fn(&OptionSpec) -> bool) -> Self {
        let own = self.entries.iter().filter(|(spec, _)| !taken(spec));
        let entries = own.chain(new.entries.iter().filter(|(spec, _)| taken(spec)));
        Self { entries: entries.cloned().collect() }
    }

    /// The options that it says, in the order of the table of options.
    pub(crate) fn said(&self) -> impl Iterator<Item = &'static OptionSpec> {
        listener_options().filter(|spec| self.says(spec))
    }
}

/// All options that a `[[listener]]` may say.
pub(crate) fn listener_options() -> impl Iterator<Item = &'static OptionSpec> {
    LISTENER_OPTIONS.iter().chain(OPTIONS.iter().filter(|spec| spec.is_per_listener()))
}

fn is_port((spec, _): &(&'static OptionSpec, Given)) -> bool {
    spec.key == "port"
}

/// The ports that are usual for MQTT over WebSocket.
const USUAL_WS_PORT: u16 = 8083;
const USUAL_WSS_PORT: u16 = 8084;

impl Config {
    /// The port of a listener that names none.
    fn usual_port(&self, transport: Transport) -> u16 {
        match transport {
            Transport::Tcp => self.port,
            Transport::Tls => self.tls_port,
            Transport::Ws => self.ws_port.get().copied().unwrap_or(USUAL_WS_PORT),
            Transport::Wss => self.wss_port.get().copied().unwrap_or(USUAL_WSS_PORT),
        }
    }

    /// Where to listen, and with what: the tables `[[listener]]`, or without any the usual ones.
    #[must_use]
    pub fn all_listeners(&self) -> Vec<Listener> {
        let configs: Vec<Config> = if self.listeners.is_empty() {
            let plain = Self { unix: Optional::None, ..self.clone() };
            let of = |transport: Transport| {
                let mut config = plain.clone();
                config.port = self.usual_port(transport);
                config.listener.transport = transport;
                config
            };
            let tls = self.tls.then(|| of(Transport::Tls));
            let unix = self.unix.get().map(|_| self.clone());
            let ws = self.ws_port.get().map(|_| of(Transport::Ws));
            let wss = self.wss_port.get().map(|_| of(Transport::Wss));
            [Some(plain.clone()), tls, unix, ws, wss].into_iter().flatten().collect()
        } else {
            self.listeners.iter().map(|table| table.over(self)).collect()
        };
        let is_written = !self.listeners.is_empty();
        let listener = |(number, config)| Listener { number, is_written, config };
        configs.into_iter().enumerate().map(listener).collect()
    }
}
