//! The flags of encryption, and what a connection trusts by them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use noctule_client::TlsOptions;

use crate::output;

pub(super) const TLS: &str = "tls";
const NO_TLS: &str = "no-tls";
const CAFILE: &str = "cafile";
const CAPATH: &str = "capath";
const CERT: &str = "cert";
const KEY: &str = "key";
const INSECURE: &str = "insecure";
const ALPN: &str = "tls-alpn";
const TLS_VERSION: &str = "tls-version";
const OS_CERTS: &str = "tls-use-os-certs";

/// What mosquitto has and this program has not, with what to do instead.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("ciphers", "the cipher suites are those of TLS 1.2 and 1.3 that are considered safe"),
    ("psk", "pre-shared keys are not supported; use certificates"),
    ("psk-identity", "pre-shared keys are not supported; use certificates"),
    ("tls-engine", "engines are not supported; use --key FILE"),
    ("keyform", "engines are not supported; use --key FILE"),
    ("tls-engine-kpass-sha1", "engines are not supported; use --key FILE"),
    ("tls-keylog", "the keys of connections are not written"),
    ("proxy", "proxies are not supported"),
    ("S", "SRV records are not looked up; use --host and --port"),
    ("message-rate", "`noctule dashboard` shows rates"),
];

/// The flags.
pub(super) fn arguments() -> Vec<Arg> {
    let file = |id: &'static str, help: &'static str| {
        let parser = value_parser!(PathBuf);
        Arg::new(id).long(id).value_name("FILE").value_parser(parser).help(help)
    };
    let switch = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).action(ArgAction::SetTrue).help(help)
    };
    let mut all = vec![
        switch(TLS, "Encrypt the connection (port 8883 unless told otherwise)")
            .visible_alias("ssl"),
        switch(NO_TLS, "Do not encrypt, also on port 8883").visible_alias("no-ssl"),
        file(CAFILE, "Trust the certificates in this PEM file: CAs, or the broker's own"),
        file(CAPATH, "Trust the certificates in the PEM files of this directory")
            .value_name("DIRECTORY"),
        file(
            CERT,
            "With --key: show this certificate to the broker; alone: trust this certificate",
        ),
        file(KEY, "The private key of --cert"),
        switch(INSECURE, "Accept any certificate, possibly a stranger's"),
        switch(OS_CERTS, "Trust the system's root certificates (the default)"),
        Arg::new(ALPN).long(ALPN).value_name("PROTOCOL").help("Offer this protocol by ALPN"),
        Arg::new(TLS_VERSION)
            .long(TLS_VERSION)
            .value_name("VERSION")
            .help("Use this version of TLS only: tlsv1.2 or tlsv1.3"),
    ];
    all.extend(NOT_OFFERED.iter().map(|(flag, _)| {
        let arg = Arg::new(*flag).num_args(0..=1).hide(true);
        if flag.len() == 1 { arg.short(flag.chars().next()) } else { arg.long(*flag) }
    }));
    all.into_iter().map(|arg| arg.help_heading("Encryption")).collect()
}

/// How to encrypt, if at all.
///
/// # Errors
/// What is not supported, or does not go together.
pub(super) fn tls(arguments: &ArgMatches, by_address: bool) -> Result<Option<TlsOptions>, String> {
    for (flag, instead) in NOT_OFFERED {
        if arguments.contains_id(flag) {
            let dashes = if flag.len() == 1 { "-" } else { "--" };
            return Err(format!("{dashes}{flag} is not offered: {instead}"));
        }
    }
    let asked = by_address
        || [TLS, INSECURE, OS_CERTS].iter().any(|flag| arguments.get_flag(flag))
        || [CAFILE, CAPATH, CERT].iter().any(|flag| arguments.contains_id(flag));
    if !asked || is_left_out(arguments) {
        return Ok(None);
    }
    trust(arguments).map(Some)
}

/// Whether --no-tls was given.
pub(crate) fn is_left_out(arguments: &ArgMatches) -> bool {
    arguments.get_flag(NO_TLS)
}

/// How to encrypt where that is done, whatever else the flags say.
///
/// # Errors
/// What cannot be read, or does not go together.
pub(crate) fn trust(arguments: &ArgMatches) -> Result<TlsOptions, String> {
    let path = |id: &str| arguments.get_one::<PathBuf>(id).cloned();
    let mut tls = TlsOptions::default().insecure(arguments.get_flag(INSECURE));
    if let Some(file) = path(CAFILE) {
        tls = tls.ca_file(file);
    }
    for file in path(CAPATH).map_or(Ok(Vec::new()), |directory| certificates_in(&directory))? {
        tls = tls.ca_file(file);
    }
    tls = match (path(CERT), path(KEY)) {
        (Some(certificate), Some(key)) => tls.client_certificate(certificate, key),
        (Some(certificate), None) => tls.ca_file(certificate),
        (None, Some(_)) => return Err("--key needs --cert, the certificate of the key".into()),
        (None, None) => tls,
    };
    if let Some(protocol) = arguments.get_one::<String>(ALPN) {
        tls = tls.alpn(protocol);
    }
    if let Some(version) = arguments.get_one::<String>(TLS_VERSION) {
        tls = tls.only_version(version).map_err(|error| error.to_string())?;
    }
    Ok(tls)
}

/// Says that an encrypted connection is not verified, if it is not.
pub(super) fn warn_if_insecure(tls: &TlsOptions) {
    if tls.is_insecure() {
        output::complain("warning: --insecure accepts any certificate; the peer may be anybody");
    }
}

/// The files of a directory that look like certificates.
fn certificates_in(directory: &std::path::Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error| format!("cannot read the directory {}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let content = std::fs::read(&path).unwrap_or_default();
        if content.windows(BEGIN.len()).any(|part| part == BEGIN) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(format!("the directory {} holds no PEM certificate", directory.display()));
    }
    found.sort();
    Ok(found)
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE";
