//! What a certificate says, in words for people.
//!
//! Whatever its maker chose is escaped, so that it can be printed on a terminal. Nothing here is
//! trusted or checked, but for the signature in [`is_signed_by`].

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::oid_registry::Oid;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::UnixTime;

/// What a certificate says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it is for, such as `CN=localhost`.
    pub subject: String,
    /// The first common name of the subject, if it has one.
    pub common_name: Option<String>,
    /// Who made it.
    pub issuer: String,
    /// Its number, hexadecimal.
    pub serial: String,
    /// The names it is valid for: `DNS localhost`, `IP 127.0.0.1` and the like.
    pub names: Vec<String>,
    /// The first moment at which it is valid.
    pub not_before: UnixTime,
    /// The last moment at which it is valid.
    pub not_after: UnixTime,
    /// What kind of key it has, such as `ECDSA P-256` or `RSA 2048 bits`.
    pub key: String,
    /// What the key may be used for, empty if nothing is said.
    pub key_usages: Vec<&'static str>,
    /// What the certificate may be used for, empty if nothing is said.
    pub extended_key_usages: Vec<String>,
    /// It may sign other certificates.
    pub is_ca: bool,
    /// Subject and issuer are the same.
    pub self_issued: bool,
    /// SHA-256 of the certificate, `AB:CD:…`, as openssl prints it.
    pub fingerprint_sha256: String,
}

/// Reads a certificate in DER; `None` if it is none.
#[must_use]
pub fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let common_name = certificate.subject().iter_common_name().next();
    Some(CertificateFacts {
        subject: distinguished(certificate.subject()),
        common_name: common_name.and_then(|name| name.as_str().ok()).map(safe),
        issuer: distinguished(certificate.issuer()),
        serial: certificate.raw_serial_as_string(),
        names: names(&certificate),
        not_before: UnixTime(certificate.validity().not_before.timestamp()),
        not_after: UnixTime(certificate.validity().not_after.timestamp()),
        key: key_kind(certificate.public_key().raw),
        key_usages: key_usages(&certificate),
        extended_key_usages: extended_key_usages(&certificate),
        is_ca: certificate.is_ca(),
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        fingerprint_sha256: hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
    })
}

/// Whether the key of `issuer` has signed `certificate`, and the names fit; both in DER.
#[must_use]
pub fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, issuer))) =
        (parse_x509_certificate(certificate), parse_x509_certificate(issuer))
    else {
        return false;
    };
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// The kind of a public key (`SubjectPublicKeyInfo` in DER).
pub(crate) fn key_kind(public_key: &[u8]) -> String {
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(public_key) else {
        return "unknown".to_owned();
    };
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {} bits", key.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            format!(
                "ECDSA {}",
                curve.map_or_else(|| "of an unnamed curve".to_owned(), |curve| curve_name(&curve))
            )
        }
        _ => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn curve_name(curve: &Oid<'_>) -> String {
    match curve.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => "P-256".to_owned(),
        "1.3.132.0.34" => "P-384".to_owned(),
        "1.3.132.0.35" => "P-521".to_owned(),
        "1.3.132.0.10" => "secp256k1".to_owned(),
        other => other.to_owned(),
    }
}

fn distinguished(name: &X509Name<'_>) -> String {
    let text = safe(&name.to_string());
    if text.is_empty() { "(empty)".to_owned() } else { text }
}

/// Nothing that moves a cursor or ends a line.
fn safe(text: &str) -> String {
    let escape =
        |c: char| if c == '"' || c == '\'' { c.to_string() } else { c.escape_debug().collect() };
    text.chars().map(escape).collect()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().map(general_name).collect()
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS {}", safe(name)),
        GeneralName::IPAddress(bytes) => format!("IP {}", address(bytes)),
        GeneralName::RFC822Name(name) => format!("email {}", safe(name)),
        GeneralName::URI(uri) => format!("URI {}", safe(uri)),
        GeneralName::DirectoryName(name) => format!("directory {}", distinguished(name)),
        other => safe(&other.to_string()),
    }
}

fn address(bytes: &[u8]) -> String {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(four).to_string()
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(sixteen).to_string()
    } else {
        format!("of {} bytes", bytes.len())
    }
}

fn key_usages(certificate: &X509Certificate<'_>) -> Vec<&'static str> {
    let Ok(Some(usage)) = certificate.key_usage() else {
        return Vec::new();
    };
    let usage = usage.value;
    let rows = [
        (usage.digital_signature(), "digital signature"),
        (usage.non_repudiation(), "non-repudiation"),
        (usage.key_encipherment(), "key encipherment"),
        (usage.data_encipherment(), "data encipherment"),
        (usage.key_agreement(), "key agreement"),
        (usage.key_cert_sign(), "certificate signing"),
        (usage.crl_sign(), "CRL signing"),
        (usage.encipher_only(), "encipher only"),
        (usage.decipher_only(), "decipher only"),
    ];
    rows.iter().filter_map(|(is, name)| is.then_some(*name)).collect()
}

fn extended_key_usages(certificate: &X509Certificate<'_>) -> Vec<String> {
    certificate
        .extensions()
        .iter()
        .filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => Some(usage_names(usage)),
            _ => None,
        })
        .flatten()
        .collect()
}

fn usage_names(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let rows = [
        (usage.any, "anything"),
        (usage.server_auth, "TLS server"),
        (usage.client_auth, "TLS client"),
        (usage.code_signing, "code signing"),
        (usage.email_protection, "email"),
        (usage.time_stamping, "time stamping"),
        (usage.ocsp_signing, "OCSP signing"),
    ];
    let known = rows.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned());
    known.chain(usage.other.iter().map(Oid::to_id_string)).collect()
}

fn hex(bytes: &[u8]) -> String {
    let parts: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    parts.join(":")
}
