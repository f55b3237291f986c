//! How a connection is encrypted: whom to trust, and who we are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::verifier;

/// How a connection is encrypted. The default trusts the system's roots and shows no certificate
/// of its own; TLS 1.2 and 1.3.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    ca_files: Vec<PathBuf>,
    ca_pem: Vec<Vec<u8>>,
    certificate: Option<(PathBuf, PathBuf)>,
    insecure: bool,
    alpn: Vec<Vec<u8>>,
    only_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    V12,
    V13,
}

/// Why TLS cannot be used as asked for: which file, what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl TlsOptions {
    /// Trusts the certificates in this PEM file, and no longer the system's roots: CAs, or the
    /// broker's own certificate. Of a broker that shows exactly a certificate in the file, name and
    /// dates are still checked. May be called several times.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_files.push(path.into());
        self
    }

    /// As [`ca_file`](Self::ca_file), with the content of such a file.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem.push(pem.into());
        self
    }

    /// Shows this certificate (chain) with this key, both PEM files, to brokers that ask for one.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Accepts any certificate: encrypted, but possibly with a stranger.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Offers this protocol by ALPN.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        self.alpn.push(protocol.as_bytes().to_vec());
        self
    }

    /// Speaks only this version, `"1.2"` or `"1.3"`.
    ///
    /// # Errors
    /// If it is another one: older ones are not safe.
    pub fn only_version(mut self, version: &str) -> Result<Self, TlsError> {
        self.only_version = Some(match version.trim_start_matches("tlsv") {
            "1.2" => TlsVersion::V12,
            "1.3" => TlsVersion::V13,
            _ => {
                let text = format!("TLS version \"{version}\" is not supported; 1.2 and 1.3 are");
                return Err(TlsError(text));
            }
        });
        Ok(self)
    }

    /// Whether any certificate is accepted.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The same for rustls, for whoever drives connections without this library. Reads the files.
    ///
    /// # Errors
    /// If a file cannot be read or used, or nobody would be trusted.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.config().map(Arc::new)
    }

    /// Reads the files.
    pub(crate) fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions())
            .map_err(|error| TlsError(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(read_certificates(certificate)?, read_key(key)?)
                .map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    TlsError(format!("{certificate} and {key} cannot be used together: {error}"))
                })?,
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        const ONLY_12: &[&SupportedProtocolVersion] = &[&version::TLS12];
        const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
        match self.only_version {
            Some(TlsVersion::V12) => ONLY_12,
            Some(TlsVersion::V13) => ONLY_13,
            None => tokio_rustls::rustls::DEFAULT_VERSIONS,
        }
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn tokio_rustls::rustls::client::danger::ServerCertVerifier>, TlsError> {
        if self.insecure {
            return Ok(verifier::anything(provider));
        }
        let mut trusted = Vec::new();
        for path in &self.ca_files {
            trusted.extend(read_certificates(path)?);
        }
        for pem in &self.ca_pem {
            trusted.extend(parse_certificates(pem, "the CA certificates given")?);
        }
        if self.ca_files.is_empty() && self.ca_pem.is_empty() {
            return verifier::roots(system_roots()?, Vec::new(), provider)
                .map_err(|error| TlsError(error.to_string()));
        }
        let mut roots = RootCertStore::empty();
        // A server's own certificate may be no CA; it is then accepted as itself only.
        let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
        if added == 0 {
            return Err(TlsError("none of the CA certificates given can be read".into()));
        }
        verifier::roots(roots, trusted, provider).map_err(|error| TlsError(error.to_string()))
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError(
            "this system has no root certificates; name a CA file, or install them \
             (Debian: ca-certificates)"
                .into(),
        ));
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    parse_certificates(&read(path)?, &path.display().to_string())
}

fn parse_certificates(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError(format!("{name} is not valid PEM: {error}")))?;
    if found.is_empty() {
        let text = format!("{name} holds no certificate; expected PEM (BEGIN CERTIFICATE)");
        return Err(TlsError(text));
    }
    Ok(found)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| {
        TlsError(format!(
            "{} holds no private key that can be used: {error}; expected PEM, not encrypted",
            path.display()
        ))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path)
        .map_err(|error| TlsError(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_was_expected() {
        let missing = TlsOptions::default().ca_file("no-such-file.pem").config().unwrap_err();
        assert!(missing.to_string().contains("no-such-file.pem"), "{missing}");
        let empty = TlsOptions::default().ca_pem("nothing").config().unwrap_err();
        assert!(empty.to_string().contains("BEGIN CERTIFICATE"), "{empty}");
        let old = TlsOptions::default().only_version("1.1").unwrap_err();
        assert!(old.to_string().contains("1.2 and 1.3"), "{old}");
        assert!(TlsOptions::default().only_version("tlsv1.2").is_ok());
    }
}
