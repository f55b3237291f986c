//! Where the broker is: by URL, by host and port, or by the path of a Unix socket.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use noctule_client::{Address, Transport};

use super::security;

const HOST: &str = "host";
const PORT: &str = "port";
const URL: &str = "url";
const PLACE: &str = "place";
const WS: &str = "ws";
const UNIX: &str = "unix";

/// The flags that say it, and the argument without a flag.
pub(super) fn arguments() -> Vec<Arg> {
    let text = |id: &'static str| Arg::new(id).long(id).value_name("TEXT");
    vec![
        Arg::new(PLACE).value_name("URL").help("As --url; a host alone is understood as well"),
        text(HOST)
            .short('h')
            .value_name("HOST")
            .help("Name or address of the broker [default: localhost]"),
        Arg::new(PORT)
            .short('p')
            .long(PORT)
            .value_name("PORT")
            .value_parser(value_parser!(u16).range(1..))
            .help("Port of the broker [default: 1883, with TLS 8883; of WebSocket 8083, 8084]"),
        text(URL).short('L').value_name("URL").help(
            "All in one: mqtt[s]://[user[:password]@]host[:port][/topic], ws[s]://host[:port][/path] \
             for WebSocket, unix:PATH",
        ),
        Arg::new(WS)
            .long(WS)
            .action(ArgAction::SetTrue)
            .help("Go over WebSocket, at the path /mqtt unless --url says another"),
        Arg::new(UNIX)
            .long(UNIX)
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .conflicts_with_all([HOST, PORT, URL, PLACE, WS])
            .help("Connect to this Unix socket"),
    ]
}

/// Reads the flags. TLS is asked for here by a URL, or by a port that is usual for it; other flags may ask
/// for it as well.
///
/// # Errors
/// What is no URL, or does not go together with encryption.
pub(crate) fn address(arguments: &ArgMatches) -> Result<Address, String> {
    let text = |id: &str| arguments.get_one::<String>(id);
    let port = arguments.get_one::<u16>(PORT).copied();
    let unix = arguments.get_one::<PathBuf>(UNIX);
    let (mut place, has_port) = match (text(URL).or(text(PLACE)), unix) {
        (_, Some(path)) => (Address::unix(path), true),
        (Some(url), None) => by_url(url)?,
        (None, None) => (Address::new("localhost", 0), false),
    };
    if let Transport::Unix(path) = &place.transport {
        if text(HOST).is_some() || port.is_some() || arguments.get_flag(WS) {
            let path = path.display();
            return Err(format!("the Unix socket {path} has no host, no port and no WebSocket"));
        }
        if security::tls(arguments, false)?.is_some() {
            return Err("a Unix socket is not encrypted: it does not leave the machine".into());
        }
        return Ok(place);
    }
    if let Some(host) = text(HOST) {
        place.host.clone_from(host);
    }
    if arguments.get_flag(WS) && place.transport == Transport::Tcp {
        // Behind a host stands the path of WebSocket then.
        place.transport = match place.topic.take() {
            Some(path) => Transport::WebSocket { path: format!("/{path}") },
            None => Transport::web_socket(),
        };
    }
    let by_scheme = text(URL).or(text(PLACE)).is_some_and(|url| url.starts_with("ws"));
    let usual = |tls| place.transport.default_port(tls);
    // A file or a flag that only makes sense with TLS chooses its port, as --tls does.
    let tls = place.tls || security::tls(arguments, false)?.is_some();
    let given = port.or(has_port.then_some(place.port));
    place.port = given.unwrap_or_else(|| usual(tls));
    place.tls |= place.port == usual(true) && !by_scheme;
    Ok(place)
}

/// The place that a URL or a host names, and whether it names the port too.
fn by_url(url: &str) -> Result<(Address, bool), String> {
    // A host alone, or with a port, is understood as well.
    let is_host = !url.contains("://") && !url.starts_with("unix:");
    let full = if is_host { format!("mqtt://{url}") } else { url.to_owned() };
    let place = Address::from_url(&full).map_err(|error| error.to_string())?;
    let has_port = !is_host || url.ends_with(&format!(":{}", place.port));
    Ok((place, has_port))
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::read;

    fn place(line: &[&str]) -> String {
        read(line).unwrap().options.address().to_string()
    }

    #[test]
    fn host_and_port_have_defaults_that_know_of_tls() {
        assert_eq!(place(&[]), "localhost:1883");
        assert_eq!(place(&["-h", "h", "-p", "7"]), "h:7");
        assert_eq!(place(&["--tls"]), "localhost:8883");
        assert_eq!(place(&["--ssl", "-p", "1"]), "localhost:1");
        assert_eq!(place(&["--cert", "file"]), "localhost:8883");
        assert_eq!(place(&["-L", "mqtts://u:p@h/t/x"]), "h:8883");
        assert_eq!(place(&["h"]), "h:1883");
        assert_eq!(place(&["h:7"]), "h:7");
        assert_eq!(place(&["h", "--tls"]), "h:8883");
        let by_place = read(&["mqtt://h:5/t/x", "-h", "other"]).unwrap();
        assert_eq!(by_place.options.address().to_string(), "other:5");
        assert_eq!(by_place.topic.as_deref(), Some("t/x"));
        assert!(!read(&["--no-tls", "-p", "8883"]).unwrap().options.address().tls);
        assert!(read(&["-p", "8883"]).unwrap().options.address().tls);
    }

    #[test]
    fn web_socket_has_ports_and_a_path_of_its_own() {
        assert_eq!(place(&["-L", "ws://h"]), "ws://h:8083/mqtt");
        assert_eq!(place(&["wss://h/x?y"]), "wss://h:8084/x?y");
        assert_eq!(place(&["--ws"]), "ws://localhost:8083/mqtt");
        assert_eq!(place(&["--ws", "-h", "h", "--tls"]), "wss://h:8084/mqtt");
        assert_eq!(place(&["--ws", "h:7"]), "ws://h:7/mqtt");
        assert_eq!(place(&["--ws", "mqtts://h/x"]), "wss://h:8883/x");
        assert_eq!(place(&["ws://h:9/x", "-p", "7", "-h", "other"]), "ws://other:7/x");
        assert_eq!(place(&["--ws", "-p", "8084"]), "wss://localhost:8084/mqtt");
        assert_eq!(place(&["ws://h:8084"]), "ws://h:8084/mqtt", "as the URL says");
        assert_eq!(place(&["ws://h", "--insecure"]), "wss://h:8083/mqtt");
        assert_eq!(read(&["ws://h/t"]).unwrap().topic, None);
        assert!(read(&["ws://h/a b"]).unwrap_err().contains("HTTP does not allow"));
    }

    #[test]
    fn a_unix_socket_has_a_path_and_nothing_else() {
        assert_eq!(place(&["--unix", "/run/x"]), "unix:/run/x");
        assert_eq!(place(&["unix:/run/x"]), "unix:/run/x");
        assert_eq!(place(&["-L", "unix:x"]), "unix:x");
        for more in [&["-h", "h"][..], &["-p", "1"], &["--ws"]] {
            assert!(read(&[&["unix:/x"], more].concat()).unwrap_err().contains("no host"));
            assert!(read(&[&["--unix", "/x"], more].concat()).unwrap_err().contains("--unix"));
        }
        assert!(read(&["--unix", "/x", "--tls"]).unwrap_err().contains("not encrypted"));
        assert!(read(&["unix:/x", "--cafile", "f"]).unwrap_err().contains("not encrypted"));
    }
}
