//! Opening the doors: the plain listeners, those with TLS, and the certificate that these need.
//!
//! What people should know of it is gathered as lines and printed when everything stands.

use crate::clock::time_of_day;
use crate::door::Door;
use crate::options::Config;
use crate::run::StartError;
use crate::tls_files::{TlsError, TlsFiles};
use crate::tls_watch::{ReadAgain, watch};
use noctule_cert::Issued;
use noctule_net::{Listener, TlsAcceptor, bind_all};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tracing::warn;

/// The doors, and what came of opening them.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) doors: Vec<Door>,
    /// What to print, one line each.
    pub(crate) lines: Vec<String>,
    /// Has the files of TLS read again; without TLS there are none.
    pub(crate) read_again: Option<Sender<ReadAgain>>,
}

/// Listens on all addresses that the configuration names.
///
/// # Errors
/// [`StartError`]: an address that cannot be listened on, or files of TLS that cannot be used.
pub(crate) fn open(config: &Config) -> Result<Opened, StartError> {
    let plain = listen(config, config.port, "port")?;
    let mut opened = Opened { doors: Vec::new(), lines: Vec::new(), read_again: None };
    let plain_port = plain.first().map(|listener| listener.address().port());
    opened.doors.extend(plain.into_iter().map(Door::plain));
    if config.tls {
        let listeners = listen(config, config.tls_port, "tls-port")?;
        open_tls(config, listeners, plain_port, &mut opened)?;
    }
    let listening = opened
        .doors
        .iter()
        .map(|door| format!("listening on {} ({})", door.address(), door.transport()));
    let listening: Vec<_> = listening.collect();
    opened.lines.splice(0..0, listening);
    Ok(opened)
}

fn listen(config: &Config, port: u16, flag: &'static str) -> Result<Vec<Listener>, StartError> {
    bind_all(&config.bind, port).map_err(|(address, error)| StartError::Listen {
        address,
        error,
        flag,
    })
}

fn open_tls(
    config: &Config,
    listeners: Vec<Listener>,
    plain_port: Option<u16>,
    opened: &mut Opened,
) -> Result<(), StartError> {
    let now = time_of_day();
    let files = TlsFiles::new(config);
    let issued = files.ensure(now).map_err(StartError::Tls)?;
    let (settings, warnings) = files.read(now).map_err(StartError::Tls)?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let acceptor =
        TlsAcceptor::new(settings).map_err(|error| StartError::Tls(TlsError::Settings(error)))?;
    let acceptor = Arc::new(acceptor);
    if let Some(issued) = issued {
        let port = listeners.first().map(|listener| listener.address().port());
        let ports = (plain_port, port);
        opened.lines.extend(about(&issued, files.ca_certificate().as_deref(), &config.bind, ports));
    }
    opened
        .doors
        .extend(listeners.into_iter().map(|listener| Door::tls(listener, Arc::clone(&acceptor))));
    let watching = watch(files, acceptor);
    opened.read_again =
        Some(watching.map_err(|error| StartError::System { what: "start a thread", error })?);
    Ok(())
}

/// What was made, and the commands that connect.
fn about(
    issued: &Issued,
    ca: Option<&Path>,
    bind: &[IpAddr],
    (plain, tls): (Option<u16>, Option<u16>),
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
    let host = host(bind);
    if let Some(port) = plain {
        lines.push(format!("to connect: mosquitto_sub -h {host} -p {port} -t '#' -v"));
    }
    if let (Some(port), Some(ca)) = (tls, ca) {
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
