//! Opening the doors: the listeners, and the certificates that those with TLS need.
//!
//! What people should know of it is gathered as lines and printed when everything stands.

use crate::clock::time_of_day;
use crate::door::Door;
use crate::options::{Auto, Config, Listener, Transport};
use crate::privileges::Successor;
use crate::run::StartError;
use crate::tls_files::{TlsError, TlsFiles};
use crate::tls_watch::TlsWatch;
use crate::watcher::Watched;
use noctule_cert::Issued;
use noctule_net::{SocketFile, TlsAcceptor, bind_all, bind_unix};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

/// The doors, and what came of opening them.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) doors: Vec<Door>,
    /// Files of Unix sockets, which go with this.
    pub(crate) socket_files: Vec<SocketFile>,
    /// What to print, one line each.
    pub(crate) lines: Vec<String>,
    /// Files of TLS that are read again when they change.
    pub(crate) watched: Vec<Box<dyn Watched>>,
}

/// Listens on all addresses that the configuration names, and goes on with fewer rights if there is a
/// `successor`.
///
/// # Errors
/// [`StartError`]: an address that cannot be listened on, or files of TLS that cannot be used.
pub(crate) fn open(config: &Config, successor: Option<Successor>) -> Result<Opened, StartError> {
    let listeners = config.all_listeners();
    let mut opened = Opened::default();
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in &listeners {
        let files = &mut opened.socket_files;
        bound.push(bind(listener, files).map_err(|error| error.of(listener))?);
    }
    let mut identities = Identities::new(&listeners);
    if let Some(successor) = successor {
        // What others have made may be for root alone to read.
        let named = listeners.iter().filter(|listener| {
            listener.transport().is_tls() && !matches!(listener.config.cert, Auto::Auto)
        });
        for listener in named {
            let read = identities.acceptor(&listener.config);
            read.map_err(|error| StartError::Tls(error).of(listener))?;
        }
        successor.succeed(config, &opened.socket_files)?;
    }
    for (listener, sockets) in listeners.iter().zip(bound) {
        let acceptor = if listener.transport().is_tls() {
            let acceptor = identities.acceptor(&listener.config);
            Some(acceptor.map_err(|error| StartError::Tls(error).of(listener))?)
        } else {
            None
        };
        let door = |socket| Door::new(socket, listener, acceptor.clone());
        opened.doors.extend(sockets.into_iter().map(door));
    }
    opened.lines.extend(opened.doors.iter().map(Door::described));
    for issued in &identities.issued {
        opened.lines.extend(about(issued, &identities.ca(), &listeners, &opened.doors));
    }
    opened.watched = identities.watched();
    Ok(opened)
}

fn bind(
    listener: &Listener,
    files: &mut Vec<SocketFile>,
) -> Result<Vec<noctule_net::Listener>, StartError> {
    if let Some(path) = listener.unix_path() {
        let (socket, file) = bind_unix(path, listener.config.unix_mode.0)
            .map_err(|error| StartError::ListenUnix { path: path.to_owned(), error })?;
        files.push(file);
        return Ok(vec![socket]);
    }
    bind_all(&listener.config.bind, listener.config.port).map_err(|(address, error)| {
        StartError::Listen { address, error, port_key: listener.port_key() }
    })
}

/// Who the broker is over TLS: listeners with the same files share what was made of them.
struct Identities {
    /// All addresses where the broker's own certificate may be shown.
    bind: Vec<IpAddr>,
    all: Vec<TlsWatch>,
    issued: Vec<Issued>,
}

impl Identities {
    fn new(listeners: &[Listener]) -> Self {
        let over_tls = listeners.iter().filter(|listener| listener.transport().is_tls());
        let bind = over_tls.flat_map(|listener| listener.config.bind.iter().copied()).collect();
        Self { bind, all: Vec::new(), issued: Vec::new() }
    }

    /// What does the handshakes of a listener with this configuration.
    fn acceptor(&mut self, config: &Config) -> Result<Arc<TlsAcceptor>, TlsError> {
        let files = TlsFiles::new(config, &self.bind);
        if let Some(same) = self.all.iter().find(|identity| identity.files == files) {
            return Ok(Arc::clone(&same.acceptor));
        }
        let now = time_of_day();
        self.issued.extend(files.ensure(now)?);
        let (settings, warnings) = files.read(now)?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let acceptor = Arc::new(TlsAcceptor::new(settings).map_err(TlsError::Settings)?);
        self.all.push(TlsWatch { files, acceptor: Arc::clone(&acceptor) });
        Ok(acceptor)
    }

    /// What clients need to trust the broker's own certificate, if it knows it.
    fn ca(&self) -> Option<PathBuf> {
        self.all.iter().find_map(|identity| identity.files.ca_certificate())
    }

    fn watched(self) -> Vec<Box<dyn Watched>> {
        self.all.into_iter().map(|identity| Box::new(identity) as Box<dyn Watched>).collect()
    }
}

/// What was made, and the commands that connect.
fn about(
    issued: &Issued,
    ca: &Option<PathBuf>,
    listeners: &[Listener],
    doors: &[Door],
) -> Vec<String> {
    let names = issued.facts.names.join(", ");
    let made = issued.certificate.display();
    let mut lines = vec![
        format!("made the certificate {made} for {names}"),
        format!("  its SHA-256: {}", issued.facts.fingerprint_sha256),
    ];
    if let (Some(ca), Some(facts)) = (ca, &issued.authority) {
        lines.push(format!("signed by the CA {}, which clients trust", ca.display()));
        lines.push(format!("  its SHA-256: {}", facts.fingerprint_sha256));
    }
    // Where the first listener of a kind is reached from here.
    let reach = |transport| {
        let is_it = |listener: &&Listener| {
            listener.transport() == transport && listener.unix_path().is_none()
        };
        let listener = listeners.iter().find(is_it)?;
        let door = doors.iter().find(|door| door.is_of(listener))?;
        Some((host(&listener.config.bind), door.address()?.port()))
    };
    if let Some((host, port)) = reach(Transport::Tcp) {
        lines.push(format!("to connect: mosquitto_sub -h {host} -p {port} -t '#' -v"));
    }
    if let (Some((host, port)), Some(ca)) = (reach(Transport::Tls), ca) {
        let ca = quoted_path(ca);
        lines
            .push(format!("with TLS:   mosquitto_sub -h {host} -p {port} --cafile {ca} -t '#' -v"));
    }
    lines
}

/// A name by which this machine reaches the broker.
fn host(bind: &[IpAddr]) -> String {
    let usual: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let is_localhost = |address: &IpAddr| address.is_unspecified() || usual.contains(address);
    match bind.first() {
        Some(first) if !bind.iter().any(is_localhost) => first.to_string(),
        _ => "localhost".to_owned(),
    }
}

/// A path as a shell reads it.
#[must_use]
pub fn quoted_path(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-@+:,".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        assert_eq!(
            quoted_path(Path::new("./noctule-data/tls/ca.pem")),
            "./noctule-data/tls/ca.pem"
        );
        assert_eq!(quoted_path(Path::new("my data/it's")), r"'my data/it'\''s'");
        assert_eq!(quoted_path(Path::new("$HOME")), "'$HOME'");
    }

    #[test]
    fn the_host_of_the_commands_is_one_that_is_listened_on() {
        let host_of = |bind: &[&str]| {
            host(&bind.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>())
        };
        assert_eq!(host_of(&["127.0.0.1", "::1"]), "localhost");
        assert_eq!(host_of(&["0.0.0.0"]), "localhost");
        assert_eq!(host_of(&["192.0.2.1", "127.0.0.1"]), "localhost");
        assert_eq!(host_of(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(host_of(&["127.0.0.2"]), "127.0.0.2");
    }
}
