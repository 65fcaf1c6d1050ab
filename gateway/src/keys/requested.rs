//! A request for a certificate as a stranger posts it, read.

use rcgen::{CertificateSigningRequestParams, PKCS_ECDSA_P256_SHA256, PublicKey, PublicKeyData};
use rustls::pki_types::CertificateSigningRequestDer;

/// A key that somebody else holds, and showed by signing a request for a certificate.
pub struct Requested {
    /// The key that was shown.
    pub(super) key: PublicKey,
    /// The point of the P-256 public key, uncompressed.
    pub point: Vec<u8>,
    /// SHA-256 of the SubjectPublicKeyInfo, as certificates are looked up by.
    pub key_hash: [u8; 32],
}

impl std::fmt::Debug for Requested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requested").finish_non_exhaustive()
    }
}

impl Requested {
    /// Reads a certificate request (PKCS#10, DER) and checks its signature. `None` when it is
    /// none, when its signature is false, or when its key is not P-256.
    pub fn read(der: &[u8]) -> Option<Self> {
        let params =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
                .ok()?;
        if PublicKeyData::algorithm(&params.public_key) != &PKCS_ECDSA_P256_SHA256 {
            return None;
        }
        let spki = params.public_key.subject_public_key_info();
        let hash = ring::digest::digest(&ring::digest::SHA256, &spki);
        Some(Self {
            point: params.public_key.der_bytes().to_vec(),
            key_hash: hash.as_ref().try_into().ok()?,
            key: params.public_key,
        })
    }
}
