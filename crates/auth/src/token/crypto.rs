//! Checking signatures with ring, which is there for TLS already. Nothing is signed here.

use std::sync::Once;

use ::signature::Verifier;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519};

/// Has the crate for tokens use this, once.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    // Fails only if the process has another one already, which is as good.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    Ok(Box::new(Signed { algorithm: *algorithm, key: key.clone() }))
}

/// An algorithm with a key.
struct Signed {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Signed {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), ::signature::Error> {
        let is_right = match (self.key.kind(), self.algorithm) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, algorithm) => rsa(algorithm)
                .is_some_and(|parameters| {
                    let key = RsaPublicKeyComponents { n, e };
                    key.verify(parameters, message, signed).is_ok()
                }),
            (DecodingKeyKind::SecretOrDer(key), Algorithm::HS256) => {
                is_mac(hmac::HMAC_SHA256, key, message, signed)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::HS384) => {
                is_mac(hmac::HMAC_SHA384, key, message, signed)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::HS512) => {
                is_mac(hmac::HMAC_SHA512, key, message, signed)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::ES256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
                    .verify(message, signed)
                    .is_ok()
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::ES384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key)
                    .verify(message, signed)
                    .is_ok()
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::EdDSA) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signed).is_ok()
            }
            (DecodingKeyKind::SecretOrDer(_), _) => false,
        };
        if is_right { Ok(()) } else { Err(::signature::Error::new()) }
    }
}

impl JwtVerifier for Signed {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn is_mac(algorithm: hmac::Algorithm, key: &[u8], message: &[u8], signed: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(algorithm, key), message, signed).is_ok()
}
