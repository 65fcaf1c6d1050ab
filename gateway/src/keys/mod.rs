//! The gateway's own keys: certificate authority, recipient keys, control keys, reader token.
//!
//! * The folder is made once, under another name, and renamed when complete: a crash leaves
//!   either no keys or all of them. Folder 0700, files 0600.
//! * What changes afterwards are the recipient and control keys ([`ring`]).
//! * The server certificate is not kept: each start issues a fresh one from the authority. It
//!   holds from the authority's own beginning, so that a box whose clock is behind accepts it.
//! * Secrets are held in memory that is wiped when dropped.
//!
//! Deliberately absent: secrets of boxes. [`crate::enrol`] makes those of a box enrolled by
//! file and keeps public parts only; a box enrolled over the network never shows its own.

mod files;
mod requested;
pub mod ring;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use ::ring::rand::{SecureRandom as _, SystemRandom};
use cardio_core::clock::UtcMicros;
use cardio_wire::keys::{
    KeyId, RecipientSecretKey, SigningKey, TrustedKeyIds, TrustedKeys, VerifyingKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use zeroize::Zeroizing;

use self::files::{damaged, io, secret_text, sync_folder, text};
use self::ring::{Entry, KeyRing};

pub use self::files::write_private;
pub use self::requested::Requested;

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key.pem";
const API_TOKEN: &str = "api.token";

const CA_LIFE: Duration = Duration::from_secs(3_650 * 86_400);
const SERVER_LIFE: Duration = Duration::from_secs(825 * 86_400);

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file or folder of the key folder cannot be read or written.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the key folder is readable by others.
    #[error("{} may be read by others: its mode is {mode:o}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of the key folder does not hold what it should.
    #[error("{} does not hold {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of {subject}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// What the library said.
        source: rcgen::Error,
    },
    /// No key has this id.
    #[error("no key of this gateway has the id {id}")]
    Unknown {
        /// The id.
        id: String,
    },
    /// A key that is in use cannot be retired.
    #[error("the key {id} is in use; only a kept key can be retired")]
    InUse {
        /// Its id.
        id: String,
    },
    /// Boxes may still know no newer key.
    #[error("the key {id} may still be needed by: {}", boxes.join(", "))]
    Needed {
        /// Its id.
        id: String,
        /// The boxes that have not said since the start that they know the newer keys.
        boxes: Vec<String>,
    },
    /// No key has a role that one key must have.
    #[error("no key of this gateway is the {role} one")]
    NoRole {
        /// The role.
        role: &'static str,
    },
    /// The system gave no randomness.
    #[error("the system gives no random bytes for {what}")]
    NoRandomness {
        /// What they were for.
        what: &'static str,
    },
}

impl KeyError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "keys.io",
            Self::Exposed { .. } => "keys.exposed",
            Self::Damaged { .. } => "keys.damaged",
            Self::Certificate { .. } => "keys.certificate",
            Self::Unknown { .. } => "keys.unknown",
            Self::InUse { .. } => "keys.in-use",
            Self::Needed { .. } => "keys.needed",
            Self::NoRole { .. } => "keys.role",
            Self::NoRandomness { .. } => "keys.randomness",
        }
    }
}

/// The gateway's keys, opened.
pub struct GatewayKeys {
    folder: PathBuf,
    ca_pem: String,
    ca_begin: UtcMicros,
    ca: Issuer<'static, KeyPair>,
    ring: RwLock<KeyRing>,
    /// How long the certificate of a box holds.
    box_life: Duration,
    /// What a reader of the record must present.
    pub api_token: Zeroizing<String>,
}

impl std::fmt::Debug for GatewayKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayKeys").finish_non_exhaustive()
    }
}

/// A certificate with its key, as PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// SHA-256 of the certificate's public key (SubjectPublicKeyInfo).
    pub key_hash: [u8; 32],
    /// The key, PKCS#8.
    pub key_pem: Zeroizing<String>,
}

impl GatewayKeys {
    /// Opens the key folder, making it first when there is none. Certificates of boxes hold
    /// for `box_life`.
    ///
    /// # Errors
    /// [`KeyError`] names the file at fault.
    pub fn open_or_create(
        folder: &Path,
        box_life: Duration,
        now: UtcMicros,
    ) -> Result<Self, KeyError> {
        if !folder.exists() {
            create(folder, now)?;
        }
        let ca_path = folder.join(CA_CERTIFICATE);
        let ca_pem = text(&ca_path)?;
        let ca_key_path = folder.join(CA_KEY);
        let ca_key = KeyPair::from_pem(&secret_text(&ca_key_path)?)
            .map_err(|_| damaged(&ca_key_path, "a PKCS#8 key in PEM"))?;
        let ca = Issuer::from_ca_cert_pem(&ca_pem, ca_key)
            .map_err(|_| damaged(&ca_path, "a certificate authority"))?;
        let ca_begin =
            begin_of(&ca_pem).ok_or_else(|| damaged(&ca_path, "a certificate authority"))?;
        let token_path = folder.join(API_TOKEN);
        let api_token = Zeroizing::new(secret_text(&token_path)?.trim().to_owned());
        if api_token.len() < 32 {
            return Err(damaged(&token_path, "a token of at least 32 characters"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            ca_pem,
            ca_begin,
            ca,
            ring: RwLock::new(KeyRing::open(folder)?),
            box_life,
            api_token,
        })
    }

    /// The authority's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Where the authority's certificate stands.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA_CERTIFICATE)
    }

    /// Where the reader token stands.
    pub fn api_token_file(&self) -> PathBuf {
        self.folder.join(API_TOKEN)
    }

    /// What boxes are to pin.
    ///
    /// # Errors
    /// [`KeyError::NoRole`] never comes of a folder that was opened.
    pub fn trusted(&self) -> Result<TrustedKeys, KeyError> {
        self.ring().trusted()
    }

    /// The secret that opens what was sealed to `id`; the active one when `id` is not ours.
    ///
    /// # Errors
    /// As [`GatewayKeys::trusted`].
    pub fn recipient(&self, id: KeyId) -> Result<Arc<RecipientSecretKey>, KeyError> {
        self.ring().recipient(id)
    }

    /// Signs acknowledgements and commands.
    ///
    /// # Errors
    /// As [`GatewayKeys::trusted`].
    pub fn control(&self) -> Result<SigningKey, KeyError> {
        self.ring().control()
    }

    /// The public part of a control key that is held, by its id.
    pub fn control_of(&self, id: &str) -> Option<VerifyingKey> {
        self.ring().control_of(id)
    }

    /// The key whose word a box with these pins believes; `None` when it must be enrolled anew.
    pub fn speaker(&self, pinned: &TrustedKeyIds) -> Option<SigningKey> {
        self.ring().speaker(pinned)
    }

    /// The recipient and control keys, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.ring().entries.clone()
    }

    /// Makes a new active recipient key; answers its id.
    ///
    /// # Errors
    /// [`KeyError`]; the keys are then what they were.
    pub fn rotate_recipient(&self, now: UtcMicros) -> Result<String, KeyError> {
        self.change(|ring| ring.rotate_recipient(&self.folder, now))
    }

    /// Makes the next control key the current one; answers its id.
    ///
    /// # Errors
    /// [`KeyError`]; the keys are then what they were.
    pub fn rotate_control(&self, now: UtcMicros) -> Result<String, KeyError> {
        self.change(|ring| ring.rotate_control(&self.folder, now))
    }

    /// Forgets a kept key for ever.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::InUse`], or what the disk said.
    pub fn retire(&self, id: &str) -> Result<(), KeyError> {
        self.change(|ring| ring.retire(&self.folder, id))
    }

    fn ring(&self) -> RwLockReadGuard<'_, KeyRing> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = ring.clone();
        let answer = change(&mut changed)?;
        *ring = changed;
        Ok(answer)
    }

    /// Issues the server's certificate for `names`, beside localhost.
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when a name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String], now: UtcMicros) -> Result<Issued, KeyError> {
        let subject = "cardio-gateway";
        let mut all: Vec<String> = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let further: Vec<String> = names
            .iter()
            .filter(|name| !all.contains(name))
            .cloned()
            .collect();
        all.extend(further);
        let failed = cannot_certify(subject);
        let mut params = CertificateParams::new(all).map_err(failed)?;
        set_life(&mut params, self.ca_begin, now, SERVER_LIFE);
        self.issue_with_new_key(params, subject, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues the client certificate of a box, with a new key.
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when the library refuses.
    pub fn issue_box(&self, subject: &str, now: UtcMicros) -> Result<Issued, KeyError> {
        let params = self.of_a_box(now);
        self.issue_with_new_key(params, subject, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Issues the client certificate of a box for the key that it showed. What else the request
    /// asks for is not granted.
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when the library refuses.
    pub fn certify_box(
        &self,
        requested: &Requested,
        subject: &str,
        now: UtcMicros,
    ) -> Result<String, KeyError> {
        let mut params = self.of_a_box(now);
        shape(&mut params, subject, ExtendedKeyUsagePurpose::ClientAuth);
        params
            .signed_by(&requested.key, &self.ca)
            .map(|certificate| certificate.pem())
            .map_err(cannot_certify(subject))
    }

    fn of_a_box(&self, now: UtcMicros) -> CertificateParams {
        let mut params = CertificateParams::default();
        set_life(&mut params, before(now, self.box_life), now, self.box_life);
        params
    }

    fn issue_with_new_key(
        &self,
        mut params: CertificateParams,
        subject: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, KeyError> {
        let failed = cannot_certify(subject);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(&failed)?;
        shape(&mut params, subject, usage);
        let certificate = params.signed_by(&key, &self.ca).map_err(&failed)?;
        let key_hash = crate::tls::key_hash(certificate.der()).ok_or(KeyError::NoRandomness {
            what: "a readable certificate",
        })?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_hash,
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn create(folder: &Path, now: UtcMicros) -> Result<(), KeyError> {
    let draft = folder.with_extension("new");
    if draft.exists() {
        std::fs::remove_dir_all(&draft).map_err(io("remove", &draft))?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&draft)
        .map_err(io("create", &draft))?;

    let failed = cannot_certify("the certificate authority");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(&failed)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(&failed)?;
    params.distinguished_name = named("cardio-gateway authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, before(now, CA_LIFE), now, CA_LIFE);
    let certificate = params.self_signed(&key).map_err(&failed)?;
    write_private(&draft.join(CA_CERTIFICATE), certificate.pem().as_bytes())?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    write_private(&draft.join(CA_KEY), key_pem.as_bytes())?;

    KeyRing::create(&draft, now)?;
    let mut token = Zeroizing::new([0_u8; 32]);
    SystemRandom::new()
        .fill(token.as_mut())
        .map_err(|_| KeyError::NoRandomness {
            what: "the reader token",
        })?;
    let token = Zeroizing::new(hex(token.as_ref()));
    write_private(&draft.join(API_TOKEN), token.as_bytes())?;

    sync_folder(&draft)?;
    std::fs::rename(&draft, folder).map_err(io("complete", folder))?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn cannot_certify(subject: &str) -> impl Fn(rcgen::Error) -> KeyError {
    let subject = subject.to_owned();
    move |source| KeyError::Certificate {
        subject: subject.clone(),
        source,
    }
}

fn named(subject: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    name
}

fn shape(params: &mut CertificateParams, subject: &str, usage: ExtendedKeyUsagePurpose) {
    params.distinguished_name = named(subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
}

/// Sets from when to when a certificate holds. Years after 9999 cannot be written.
fn set_life(params: &mut CertificateParams, begin: UtcMicros, now: UtcMicros, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |at: UtcMicros| {
        let since = Duration::from_micros(u64::try_from(at.0).unwrap_or(0));
        since.min(Duration::from_secs(253_000_000_000))
    };
    params.not_before = epoch + since(begin);
    params.not_after = epoch + since(now) + life;
}

/// Somewhat earlier, so that a clock may be behind: a day, or a tenth of a shorter life.
fn before(now: UtcMicros, life: Duration) -> UtcMicros {
    let slack = (life / 10).min(Duration::from_secs(86_400)).as_micros();
    UtcMicros(now.0.saturating_sub(i64::try_from(slack).unwrap_or(0)))
}

fn begin_of(pem: &str) -> Option<UtcMicros> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let begin = pem.parse_x509().ok()?.validity().not_before.timestamp();
    Some(UtcMicros(begin.saturating_mul(1_000_000)))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
