//! A CA and what it signs, made for one test.

use noctule_net::{ClientCertificates, TlsSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a CA"))
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// For `localhost`.
    pub(crate) fn server(&self) -> Identity {
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Number `serial`, for a client.
    pub(crate) fn client(&self, serial: u64) -> Identity {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, "client");
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client's certificate whose time is over.
    pub(crate) fn expired_client(&self) -> Identity {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A client's certificate whose time has not come.
    pub(crate) fn future_client(&self) -> Identity {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2090, 1, 1);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Identity { chain: vec![certificate.der().clone()], key }
    }

    /// A list that revokes these numbers.
    pub(crate) fn revoking(&self, serials: &[u64]) -> CertificateRevocationListDer<'static> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("a list").der().clone()
    }
}

/// The settings of a server with this identity.
pub(crate) fn settings(server: &Identity, clients: ClientCertificates) -> TlsSettings {
    let (chain, key) = (server.chain.clone(), server.key.clone_key());
    TlsSettings { chain, key, clients, newest_only: false }
}
