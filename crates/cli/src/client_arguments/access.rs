//! Where to connect and as whom, for commands that make their connections themselves: some of the
//! shared flags, and no options of the client library.

use clap::{Arg, ArgMatches};
use noctule_client::{Address, ProtocolVersion, TlsOptions};

use super::connection::{OPTIONS_FILE, PASSWORD, QUIET, USER, VERSION, WAIT, arguments};
use super::{place, security};

/// Where to connect and as whom, for a command that makes its connections itself.
#[derive(Debug)]
pub(crate) struct Access {
    /// Where, as whom.
    pub(crate) address: Address,
    /// Which MQTT is spoken.
    pub(crate) version: ProtocolVersion,
    /// How to encrypt, if that is wanted.
    pub(crate) tls: Option<TlsOptions>,
    /// Whether to wait for a broker that is not there yet.
    pub(crate) wait: bool,
    /// Whether to say nothing but the answer.
    pub(crate) quiet: bool,
}

/// Those of the shared flags that [`access`] reads.
pub(crate) fn access_arguments() -> Vec<Arg> {
    let own = ["help", USER, PASSWORD, VERSION, WAIT, QUIET, OPTIONS_FILE];
    let others = [place::arguments(), security::arguments()].concat();
    let mut all = arguments();
    all.retain(|arg| {
        let id = arg.get_id().as_str();
        own.contains(&id) || others.iter().any(|other| other.get_id() == arg.get_id())
    });
    all.into_iter()
        .map(|arg| match arg.get_id().as_str() {
            VERSION => {
                arg.help("mqttv31, mqttv311 or mqttv5 (also 31, 311, 5) [default: mqttv311]")
            }
            QUIET => arg.help("Say nothing but the answer and errors"),
            _ => arg,
        })
        .collect()
}

/// Reads the flags of [`access_arguments`].
///
/// # Errors
/// What does not go together, or is not offered.
pub(crate) fn access(arguments: &ArgMatches) -> Result<Access, String> {
    let text = |id: &str| arguments.get_one::<String>(id).cloned();
    let mut address = place::address(arguments)?;
    address.user_name = text(USER).or(address.user_name);
    address.password = text(PASSWORD).or(address.password);
    let tls = security::tls(arguments, address.tls)?;
    tls.iter().for_each(security::warn_if_insecure);
    address.tls = tls.is_some();
    Ok(Access {
        address,
        version: arguments.get_one(VERSION).copied().unwrap_or(ProtocolVersion::V311),
        tls,
        wait: arguments.get_flag(WAIT),
        quiet: arguments.get_flag(QUIET),
    })
}
