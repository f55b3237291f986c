//! The configuration that is being written: options at the top, by section, and listeners.

use super::{Note, Weight};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

/// Keys with their values as TOML, in order.
type Entries = Vec<Entry>;

/// A key with its value as TOML.
#[derive(Debug)]
struct Entry {
    key: &'static str,
    value: String,
    /// What is to be said of it, one line.
    remark: Option<String>,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy)]
enum Spot {
    Section(&'static str, &'static str),
    Listener(usize, &'static str),
}

/// What is said where claimed names are trusted.
const TRUSTED: &str = "whoever says a user's name has that user's rights, as with Mosquitto, since nobody \
                       is asked for a password: name a password_file";

/// A configuration of ours in the making.
#[derive(Debug)]
pub(super) struct Draft {
    /// Whether each listener has its own rules about who may come in.
    pub(super) per_listener: bool,
    pub(super) pid_file: Option<PathBuf>,
    port: Option<u16>,
    /// By section; that without a name is the top of the file.
    sections: BTreeMap<&'static str, Entries>,
    /// The first one is the default listener, which may not be one.
    listeners: Vec<Listener>,
    /// The one that lines are about.
    current: usize,
    in_all: bool,
    /// Whether messages are kept on disk.
    pub(super) is_persistent: bool,
    /// Where those of Mosquitto are, and how their file is called.
    pub(super) persistence_location: Option<String>,
    pub(super) persistence_file: Option<String>,
    /// Whether a user is named to go on as.
    pub(super) names_user: bool,
    /// What the line that is being translated has set last.
    touched: Option<Spot>,
    /// What is to be said of lines that have set nothing.
    remarks: Vec<String>,
}

/// A listener in the making.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Whether there is one: a port was named for it.
    is_there: bool,
    pub(super) port: Option<u16>,
    pub(super) bind: Option<Vec<IpAddr>>,
    /// IPv4 alone, or IPv6 alone.
    pub(super) only: Option<fn(&IpAddr) -> bool>,
    /// The path of a Unix socket, in place of port and addresses.
    pub(super) unix: Option<String>,
    /// Whether clients come through proxies that say so.
    pub(super) is_proxied: bool,
    pub(super) ca_file: Option<String>,
    pub(super) requires_certificate: bool,
    pub(super) is_websocket: bool,
    /// Pages that may connect by WebSocket; all if none is named.
    pub(super) origins: Vec<String>,
    entries: Entries,
}

/// What the top of the file says of who may come in, where a listener says nothing of its own.
#[derive(Debug, Clone, Copy)]
struct Usual {
    allow_anonymous: bool,
    has_passwords: bool,
    has_rules: bool,
}

impl Draft {
    pub(super) fn new(port: Option<u16>) -> Self {
        let mut draft = Self {
            per_listener: false,
            pid_file: None,
            port,
            sections: BTreeMap::new(),
            listeners: vec![Listener::default()],
            current: 0,
            in_all: false,
            is_persistent: false,
            persistence_location: None,
            persistence_file: None,
            names_user: false,
            touched: None,
            remarks: Vec::new(),
        };
        // What Mosquitto does if nothing is said.
        draft.set_in("limits", "inflight_out_max", "20".into());
        draft.set_in("limits", "queue_messages_max", "1000".into());
        draft.set_in("", "assigned_id_prefix", quoted("auto-"));
        draft
    }

    /// What comes next is about the whole broker.
    pub(super) fn enter_all(&mut self) {
        self.in_all = true;
    }

    /// What comes next is about the listener that was named last.
    pub(super) fn enter_listener(&mut self) {
        self.in_all = false;
    }

    /// Sets an option for the listener that was named last, or for all.
    pub(super) fn set(&mut self, key: &'static str, value: String) {
        if self.in_all {
            self.set_in("", key, value);
        } else {
            set(&mut self.listener().entries, key, value);
            self.touched = Some(Spot::Listener(self.current, key));
        }
    }

    /// Takes back an option of the listener that was named last.
    pub(super) fn unset(&mut self, key: &'static str) {
        self.listener().entries.retain(|entry| entry.key != key);
    }

    /// The listener that was named last is one that is there, if the option was about one.
    pub(super) fn note_listener(&mut self) {
        if !self.in_all {
            self.listener().is_there = true;
        }
    }

    /// Sets an option of a section.
    pub(super) fn set_in(&mut self, section: &'static str, key: &'static str, value: String) {
        set(self.sections.entry(section).or_default(), key, value);
        self.touched = Some(Spot::Section(section, key));
    }

    /// What is said next is of another line.
    pub(super) fn begin_line(&mut self) {
        self.touched = None;
    }

    /// Says something of what the line has set, or of the whole if it has set nothing.
    pub(super) fn remark(&mut self, text: String) {
        let entry = match self.touched {
            Some(Spot::Section(section, key)) => {
                self.sections.get_mut(section).and_then(|entries| find(entries, key))
            }
            Some(Spot::Listener(index, key)) => find(&mut self.listeners[index].entries, key),
            None => None,
        };
        match entry {
            Some(entry) => entry.remark = Some(text),
            None => self.remarks.push(text),
        }
    }

    /// The listener that was named last.
    pub(super) fn listener(&mut self) -> &mut Listener {
        &mut self.listeners[self.current]
    }

    /// Begins a listener.
    pub(super) fn begin_listener(&mut self, port: u16) -> &mut Listener {
        self.listeners.push(Listener { is_there: true, port: Some(port), ..Listener::default() });
        self.current = self.listeners.len() - 1;
        self.listener()
    }

    /// Begins a listener that is a Unix socket.
    pub(super) fn begin_unix(&mut self, path: &str) {
        self.begin_listener(0).unix = Some(path.to_owned());
    }

    /// The default listener is one that is there.
    pub(super) fn use_default_listener(&mut self) -> &mut Listener {
        let listener = &mut self.listeners[0];
        listener.is_there = true;
        listener
    }

    /// How many listeners there are.
    pub(super) fn count(&self) -> usize {
        self.listeners.iter().filter(|listener| listener.is_there).count()
    }

    /// What is to be said of the database of Mosquitto's, if it is there.
    fn left_behind(&mut self) -> Option<Note> {
        let directory = self.persistence_location.as_deref().unwrap_or("");
        let file = self.persistence_file.as_deref().unwrap_or("mosquitto.db");
        let path = PathBuf::from(directory).join(file);
        path.exists().then(|| {
            let path = path.display();
            let text = format!(
                "{path} is not read: sessions and retained messages begin anew, so have persistent \
                 subscribers connect before publishers do"
            );
            self.remarks.push(text.clone());
            Note { place: None, weight: Weight::Different, text }
        })
    }

    /// The text of the file.
    pub(super) fn finish(mut self, notes: &mut Vec<Note>) -> (String, Option<PathBuf>) {
        let is_local = self.count() == 0;
        if is_local {
            // Mosquitto's "local only mode".
            let port = self.port.unwrap_or(1883);
            let listener = self.use_default_listener();
            listener.port = Some(port);
            listener.bind = Some(vec![
                std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::Ipv6Addr::LOCALHOST.into(),
            ]);
        } else if let (Some(port), true) = (self.port, self.listeners[0].is_there) {
            self.listeners[0].port.get_or_insert(port);
        }
        if !self.is_persistent {
            self.set_in("", "in_memory", "true".into());
        }
        if self.is_persistent {
            notes.extend(self.left_behind());
        }
        let mut usual: Entries = Vec::new();
        for (key, value) in [("hello", "\"never\""), ("log_messages", "\"none\"")] {
            set(&mut usual, key, value.into());
        }
        let mut text = String::from("# Translated from a mosquitto.conf.\n");
        for remark in &self.remarks {
            let _ = writeln!(text, "# {remark}");
        }
        text.push('\n');
        write_entries(&mut text, &usual);
        write_entries(&mut text, self.sections.get("").into_iter().flatten());
        for (section, entries) in self.sections.iter().filter(|(name, _)| !name.is_empty()) {
            let _ = write!(text, "\n[{section}]\n");
            write_entries(&mut text, entries);
        }
        let top = self.sections.get("").map_or(&[][..], Vec::as_slice);
        let usual = Usual {
            allow_anonymous: value(top, "allow_anonymous").map_or(is_local, is_true),
            has_passwords: value(top, "password_file").is_some(),
            has_rules: value(top, "acl_file").is_some(),
        };
        for listener in self.listeners.iter().filter(|listener| listener.is_there) {
            listener.write(&mut text, is_local, usual);
            let refused = listener.faults(is_local, usual).into_iter().map(|text| Note {
                place: None,
                weight: Weight::Refused,
                text: format!("the listener on {}: {text}", listener.place()),
            });
            notes.extend(refused);
            notes.extend(listener.trusts_claimed_names(usual).then(|| Note {
                place: None,
                weight: Weight::Different,
                text: format!("the listener on {}: {TRUSTED}", listener.place()),
            }));
        }
        (text, self.pid_file)
    }
}

impl Listener {
    /// Where it is, in words.
    fn place(&self) -> String {
        match &self.unix {
            Some(path) => path.clone(),
            None => format!("port {}", self.port()),
        }
    }

    fn has(&self, key: &str) -> bool {
        value(&self.entries, key).is_some()
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(1883)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let every =
            [IpAddr::from(std::net::Ipv4Addr::UNSPECIFIED), std::net::Ipv6Addr::UNSPECIFIED.into()];
        let bind = self.bind.clone().unwrap_or(every.to_vec());
        let wanted = |address: &IpAddr| self.only.is_none_or(|only| only(address));
        bind.into_iter().filter(wanted).collect()
    }

    /// A certificate that names the user has to be there, whatever is said of it besides.
    fn asks_for_certificates(&self) -> bool {
        self.requires_certificate || self.has("certificate_user")
    }

    fn write(&self, text: &mut String, is_local: bool, usual: Usual) {
        text.push_str("\n[[listener]]\n");
        if let Some(path) = &self.unix {
            let _ = writeln!(text, "unix = {}", quoted(path));
        } else {
            let bind: Vec<String> =
                self.addresses().iter().map(|address| format!("\"{address}\"")).collect();
            let _ = writeln!(text, "port = {}\nbind = [{}]", self.port(), bind.join(", "));
        }
        let transport = match (self.is_websocket, self.has("cert")) {
            (false, false) => None,
            (false, true) => Some("tls"),
            (true, false) => Some("ws"),
            (true, true) => Some("wss"),
        };
        if let Some(transport) = transport {
            let _ = writeln!(text, "transport = \"{transport}\"");
        }
        if self.is_websocket {
            let _ = writeln!(text, "ws_origins = {}", self.web_origins());
        }
        write_entries(text, &self.entries);
        if self.is_proxied && self.asks_for_certificates() && !self.has("cert") {
            text.push_str("proxy_certificates = true\n");
        } else if let (Some(file), true) = (&self.ca_file, self.asks_for_certificates()) {
            let _ = writeln!(text, "client_ca = {}", quoted(file));
        }
        if is_local
            && usual.allow_anonymous
            && !usual.has_passwords
            && !self.has("allow_anonymous")
            && !self.has("password_file")
        {
            text.push_str("allow_anonymous = true\n");
        }
        if self.trusts_claimed_names(usual) {
            let _ = writeln!(text, "# {TRUSTED}\nacl_trust_claimed_names = true");
        }
    }

    fn has_passwords(&self, usual: Usual) -> bool {
        usual.has_passwords || self.has("password_file")
    }

    /// Whether Mosquitto gives whoever says a user's name what its rules give to that user.
    fn trusts_claimed_names(&self, usual: Usual) -> bool {
        let has_rules = usual.has_rules || self.has("acl_file");
        has_rules && !self.has_passwords(usual) && !self.has("certificate_user")
    }

    fn web_origins(&self) -> String {
        let origins: Vec<String> = self.origins.iter().map(|origin| quoted(origin)).collect();
        if origins.is_empty() { quoted("any") } else { format!("[{}]", origins.join(", ")) }
    }

    /// What would let somebody in here whom Mosquitto refuses, or nobody at all.
    fn faults(&self, is_local: bool, usual: Usual) -> Vec<&'static str> {
        let own = value(&self.entries, "allow_anonymous").map(is_true);
        let allow_anonymous = own.unwrap_or(usual.allow_anonymous);
        let has_passwords = self.has_passwords(usual);
        let has_cert = self.has("cert");
        let asks_itself = self.asks_for_certificates() && (has_cert || !self.is_proxied);
        let wants_tls =
            self.ca_file.is_some() || asks_itself || self.has("key") || self.has("client_crl");
        [
            (self.unix.is_none() && self.addresses().is_empty(), "none of its addresses is of its socket_domain"),
            (
                wants_tls && !has_cert,
                "it has options of TLS and no certfile, so nothing would be encrypted and no \
                 certificate asked for: name certfile and keyfile, or remove the others",
            ),
            (
                asks_itself && self.ca_file.is_none(),
                "it asks for certificates and has no cafile: name the CA that signed those of the \
                 clients",
            ),
            (
                self.requires_certificate && !self.has("certificate_user") && !allow_anonymous,
                "it has require_certificate and wants a user name as well, but here a certificate is \
                 enough: say so with allow_anonymous true, or with use_identity_as_username true",
            ),
            (
                self.is_proxied && self.requires_certificate && !has_cert && allow_anonymous,
                "it has require_certificate behind a proxy and allow_anonymous true, and here who shows \
                 the proxy no certificate would come in: set allow_anonymous false for it",
            ),
            (
                !is_local && !allow_anonymous && !has_passwords && !self.asks_for_certificates(),
                "nobody could log in: it needs allow_anonymous true or a password_file",
            ),
        ]
        .into_iter()
        .filter_map(|(is_so, fault)| is_so.then_some(fault))
        .collect()
    }
}

fn value<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &*entry.value)
}

fn find<'a>(entries: &'a mut [Entry], key: &str) -> Option<&'a mut Entry> {
    entries.iter_mut().find(|entry| entry.key == key)
}

fn is_true(value: &str) -> bool {
    value == "true"
}

/// What is said last holds, at the place where it was said first.
fn set(entries: &mut Entries, key: &'static str, value: String) {
    match find(entries, key) {
        Some(entry) => (entry.value, entry.remark) = (value, None),
        None => entries.push(Entry { key, value, remark: None }),
    }
}

fn write_entries<'a>(text: &mut String, entries: impl IntoIterator<Item = &'a Entry>) {
    for Entry { key, value, remark } in entries {
        if let Some(remark) = remark {
            let _ = writeln!(text, "# {remark}");
        }
        let _ = writeln!(text, "{key} = {value}");
    }
}

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
