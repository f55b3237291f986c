//! PEM files: what is in them by label, decoded.
//!
//! Other labels than those asked for are passed over, so a file may hold a chain and its key. What
//! the decoder would pass over in silence (an encrypted key, a wrong type) is found here by its label.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{PemObject, SectionKind};

use crate::{Fault, FileError};

/// More is no certificate, key or list that anybody uses here.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One decoded section.
pub(crate) type Section = (SectionKind, Vec<u8>);

/// What a file can hold of interest, see [`read_anything`].
#[derive(Debug)]
pub struct Contents {
    /// The certificates, in their order.
    pub certificates: Vec<Vec<u8>>,
    /// How many private keys there are; they are not shown.
    pub private_keys: usize,
    /// How many revocation lists there are.
    pub revocation_lists: usize,
}

/// Reads a PEM file of certificates, with whatever else is in it, or one certificate in DER.
///
/// # Errors
/// [`FileError`] if it cannot be read or holds nothing of the kind.
pub fn read_anything(path: &Path) -> Result<Contents, FileError> {
    let bytes = read(path)?;
    if is_der(&bytes) && x509_parser::parse_x509_certificate(&bytes).is_ok() {
        return Ok(Contents { certificates: vec![bytes], private_keys: 0, revocation_lists: 0 });
    }
    let all = |kind: &SectionKind| is_certificate(kind) || is_key(kind) || is_list(kind);
    let sections = decode(path, &bytes, "a certificate", all)?;
    let count = |is: fn(&SectionKind) -> bool| sections.iter().filter(|(kind, _)| is(kind)).count();
    Ok(Contents {
        private_keys: count(is_key),
        revocation_lists: count(is_list),
        certificates: sections
            .into_iter()
            .filter_map(|(kind, der)| is_certificate(&kind).then_some(der))
            .collect(),
    })
}

/// The sections of a file that are wanted; at least one.
pub(crate) fn sections(
    path: &Path,
    expected: &'static str,
    wanted: fn(&SectionKind) -> bool,
) -> Result<Vec<Section>, FileError> {
    decode(path, &read(path)?, expected, wanted)
}

pub(crate) fn is_certificate(kind: &SectionKind) -> bool {
    matches!(kind, SectionKind::Certificate)
}

pub(crate) fn is_key(kind: &SectionKind) -> bool {
    use SectionKind::{EcPrivateKey, PrivateKey, RsaPrivateKey};
    matches!(kind, PrivateKey | EcPrivateKey | RsaPrivateKey)
}

pub(crate) fn is_list(kind: &SectionKind) -> bool {
    matches!(kind, SectionKind::Crl)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::reading(path))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(FileError::reading(path))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::new(path, Fault::TooLarge(FILE_BYTES_MAX)));
    }
    Ok(bytes)
}

fn decode(
    path: &Path,
    bytes: &[u8],
    expected: &'static str,
    wanted: fn(&SectionKind) -> bool,
) -> Result<Vec<Section>, FileError> {
    let fault = |fault| Err(FileError::new(path, fault));
    let labels = labels(bytes);
    if labels.is_empty() {
        return fault(Fault::NotPem { expected, der: is_der(bytes) });
    }
    if wanted(&SectionKind::PrivateKey) && has_encrypted_key(bytes, &labels) {
        return fault(Fault::Encrypted);
    }
    let mut found = Vec::new();
    for section in Section::pem_slice_iter(bytes) {
        match section {
            Ok(section) if wanted(&section.0) => found.push(section),
            Ok(_) => {}
            // A passphrase makes other sections of the file undecodable only in appearance.
            Err(_) if has_encrypted_key(bytes, &labels) => {}
            Err(error) => return fault(Fault::Damaged(one_line(&error.to_string()))),
        }
    }
    if found.is_empty() {
        let mut labels = labels;
        labels.dedup();
        return fault(Fault::WrongType { expected, found: labels.join(", ") });
    }
    Ok(found)
}

/// The labels of a file: `CERTIFICATE` of `-----BEGIN CERTIFICATE-----`.
fn labels(bytes: &[u8]) -> Vec<String> {
    let label = |line: &[u8]| {
        let rest = line.strip_prefix(b"-----BEGIN ")?;
        let label: String = String::from_utf8_lossy(rest).trim_end_matches(['-', ' ']).into();
        Some(one_line(&label))
    };
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(label).collect()
}

/// PKCS#8 says it in the label, the older forms in a header.
fn has_encrypted_key(bytes: &[u8], labels: &[String]) -> bool {
    let header = b"Proc-Type: 4,ENCRYPTED";
    labels.iter().any(|label| label == "ENCRYPTED PRIVATE KEY")
        || bytes.windows(header.len()).any(|window| window == header)
}

/// A SEQUENCE with a length of two bytes, as every certificate and most keys begin.
fn is_der(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x30, 0x81]) || bytes.starts_with(&[0x30, 0x82])
}

/// What a file says, made safe for a terminal.
fn one_line(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
