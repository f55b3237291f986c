//! Where the broker is: by URL, or by host and port.

use clap::{Arg, ArgMatches, value_parser};
use noctule_client::Address;

use super::security;

const HOST: &str = "host";
const PORT: &str = "port";
const URL: &str = "url";
const PLACE: &str = "place";

/// The flags.
pub(super) fn arguments() -> [Arg; 4] {
    let text = |id: &'static str| Arg::new(id).long(id).value_name("TEXT");
    [
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

/// Where the broker is: by URL, or by host and port.
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
