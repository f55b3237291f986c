//! Where the broker is: by URL, or by host and port.

use clap::{Arg, ArgMatches, value_parser};
use noctule_client::Address;

use super::security;

const HOST: &str = "host";
const PORT: &str = "port";
const URL: &str = "url";
const PLACE: &str = "place";

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
            .help("Port of the broker [default: 1883, with TLS 8883]"),
        text(URL)
            .short('L')
            .value_name("URL")
            .help("All in one: mqtt[s]://[user[:password]@]host[:port][/topic]"),
    ]
}

/// Reads the flags.
///
/// # Errors
/// What is no URL, or does not go together with encryption.
pub(super) fn address(arguments: &ArgMatches) -> Result<Address, String> {
    let text = |id: &str| arguments.get_one::<String>(id);
    let mut place = match text(URL).or(text(PLACE)) {
        Some(url) => {
            // A host alone, or with a port, is understood as well.
            let plain = !url.contains("://");
            let url = if plain { format!("mqtt://{url}") } else { url.clone() };
            let mut place = Address::from_url(&url).map_err(|error| error.to_string())?;
            if plain && !url.ends_with(&format!(":{}", place.port)) {
                place.port = 0;
            }
            place
        }
        None => Address::new("localhost", 0),
    };
    if let Some(host) = text(HOST) {
        place.host.clone_from(host);
    }
    if let Some(port) = arguments.get_one(PORT) {
        place.port = *port;
    }
    place.tls |= place.port == TLS_PORT;
    if place.port == 0 {
        // A file or a flag that only makes sense with TLS chooses its port, as --tls does.
        let tls = security::tls(arguments, false)?.is_some();
        place.port = if tls { TLS_PORT } else { PLAIN_PORT };
    }
    Ok(place)
}

const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

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
}
