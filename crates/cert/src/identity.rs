//! Whom a certificate names, as a user name for programs: not escaped for terminals as the facts are,
//! and nothing but what can be a user name.

use std::fmt::Write;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

/// What MQTT can carry in a user name.
const NAME_BYTES_MAX: usize = 65_535;

/// Which part of a certificate names its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityField {
    /// The first common name of the subject.
    CommonName,
    /// The whole subject, in the form of RFC 2253: `CN=sensor-1,OU=Hall 7,O=Example,C=DE`, the most
    /// particular part first.
    Subject,
    /// The first alternative name that is a host name, a mail address or a URI.
    AlternativeName,
}

/// Whom a certificate in DER names; none if it has no such name, or one that cannot be a user name:
/// empty, with control characters, longer than 65,535 bytes.
#[must_use]
pub fn identity(der: &[u8], field: IdentityField) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let name = match field {
        IdentityField::CommonName => common_name(certificate.subject())?,
        IdentityField::Subject => distinguished_name(certificate.subject())?,
        IdentityField::AlternativeName => alternative_name(&certificate)?,
    };
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    is_name.then_some(name)
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    text(subject.iter_common_name().next()?.attr_value())
}

fn alternative_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        _ => None,
    })
}

/// The name in the form of RFC 2253, as OpenSSL writes it: characters beyond ASCII as `\C3\A9`.
fn distinguished_name(name: &X509Name<'_>) -> Option<String> {
    let mut all = Vec::new();
    for set in name.iter_rdn() {
        let mut parts = Vec::new();
        for attribute in set.iter() {
            let oid = attribute.attr_type().to_id_string();
            let value = match (short_name(&oid), text(attribute.attr_value())) {
                (Some(short), Some(value)) => format!("{short}={}", escaped(&value)),
                (None, Some(value)) => format!("{oid}={}", escaped(&value)),
                // Nothing that is no text names anybody.
                (_, None) => return None,
            };
            parts.push(value);
        }
        all.push(parts.join("+"));
    }
    all.reverse();
    Some(all.join(","))
}

/// The text of an attribute, whatever kind of string it is.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.header.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            bytes.is_ascii().then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        // In practice these are Latin-1, whatever the standard says.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (place, c) in value.chars().enumerate() {
        let at_edge = (c == ' ' && (place == 0 || place == last)) || (c == '#' && place == 0);
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', c]),
            _ if at_edge => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
        }
    }
    out
}

/// What OpenSSL calls an attribute in names.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(names: &[(DnType, &str)], alternative: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = alternative;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_subject_is_written_as_rfc_2253_says() {
        let der = certificate(
            &[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "Müller, Söhne + Co"),
                (DnType::OrganizationalUnitName, " #7; \"hall\\"),
                (DnType::CommonName, "sensor-1"),
            ],
            vec![],
        );
        // openssl x509 -noout -subject -nameopt RFC2253
        assert_eq!(
            identity(&der, IdentityField::Subject).unwrap(),
            "CN=sensor-1,OU=\\ #7\\; \\\"hall\\\\,O=M\\C3\\BCller\\, S\\C3\\B6hne \\+ Co,C=DE"
        );
        assert_eq!(identity(&der, IdentityField::CommonName).unwrap(), "sensor-1");
        assert_eq!(identity(&der, IdentityField::AlternativeName), None);
    }

    #[test]
    fn an_alternative_name_is_the_first_that_names_somebody() {
        let uri = SanType::URI("urn:device:7".try_into().unwrap());
        let mail = SanType::Rfc822Name("a@example.org".try_into().unwrap());
        let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
        let name = |names: Vec<SanType>| {
            identity(&certificate(&[], names), IdentityField::AlternativeName)
        };
        assert_eq!(name(vec![address.clone(), uri.clone(), mail]).unwrap(), "urn:device:7");
        assert_eq!(name(vec![address]), None);
        assert_eq!(identity(&certificate(&[], vec![uri]), IdentityField::CommonName), None);
    }

    #[test]
    fn what_cannot_be_a_user_name_is_none() {
        let der = certificate(&[(DnType::CommonName, "a\0b")], vec![]);
        assert_eq!(identity(&der, IdentityField::CommonName), None);
        let der = certificate(&[(DnType::CommonName, "")], vec![]);
        assert_eq!(identity(&der, IdentityField::CommonName), None);
        assert_eq!(identity(&certificate(&[], vec![]), IdentityField::Subject), None);
        assert_eq!(identity(b"nonsense", IdentityField::CommonName), None);
    }
}
