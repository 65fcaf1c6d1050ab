//! The gateway's own keys: certificate authority, recipient key, control key, reader token.
//!
//! * The folder is made once, under another name, and renamed when complete: a crash leaves
//!   either no keys or all of them. Folder 0700, files 0600.
//! * The server certificate is not kept: each start issues a fresh one from the authority.
//! * Secrets are held in memory that is wiped when dropped.
//!
//! Deliberately absent: keys of boxes. [`crate::enrol`] makes them and keeps public parts only.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cardio_core::clock::UtcMicros;
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key.pem";
const RECIPIENT_KEY: &str = "recipient.key";
const CONTROL_KEY: &str = "control.pk8";
const API_TOKEN: &str = "api.token";

const CA_DAYS: i64 = 3_650;
const SERVER_DAYS: i64 = 825;
const BOX_DAYS: i64 = 398;
const DAY_MICROS: i64 = 86_400_000_000;

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
            Self::NoRandomness { .. } => "keys.randomness",
        }
    }
}

/// The gateway's keys, opened.
pub struct GatewayKeys {
    folder: PathBuf,
    ca_pem: String,
    ca: Issuer<'static, KeyPair>,
    /// Opens what boxes seal.
    pub recipient: RecipientSecretKey,
    /// Signs acknowledgements and commands.
    pub control: SigningKey,
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
    /// Opens the key folder, making it first when there is none.
    ///
    /// # Errors
    /// [`KeyError`] names the file at fault.
    pub fn open_or_create(folder: &Path, now: UtcMicros) -> Result<Self, KeyError> {
        if !folder.exists() {
            create(folder, now)?;
        }
        Self::open(folder)
    }

    fn open(folder: &Path) -> Result<Self, KeyError> {
        let ca_pem = text(&folder.join(CA_CERTIFICATE))?;
        let ca_key_path = folder.join(CA_KEY);
        let ca_key = KeyPair::from_pem(&secret_text(&ca_key_path)?)
            .map_err(|_| damaged(&ca_key_path, "a PKCS#8 key in PEM"))?;
        let ca = Issuer::from_ca_cert_pem(&ca_pem, ca_key)
            .map_err(|_| damaged(&folder.join(CA_CERTIFICATE), "a certificate authority"))?;
        let recipient_path = folder.join(RECIPIENT_KEY);
        let recipient = RecipientSecretKey::from_bytes(&secret_bytes(&recipient_path)?)
            .map_err(|_| damaged(&recipient_path, "an X25519 key"))?;
        let control_path = folder.join(CONTROL_KEY);
        let control = SigningKey::from_pkcs8(&secret_bytes(&control_path)?)
            .map_err(|_| damaged(&control_path, "an Ed25519 key"))?;
        let token_path = folder.join(API_TOKEN);
        let api_token = Zeroizing::new(secret_text(&token_path)?.trim().to_owned());
        if api_token.len() < 32 {
            return Err(damaged(&token_path, "a token of at least 32 characters"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            ca_pem,
            ca,
            recipient,
            control,
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

    /// Issues the server's certificate for `names`, beside localhost.
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when a name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String], now: UtcMicros) -> Result<Issued, KeyError> {
        let mut all: Vec<String> = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        all.extend(
            names
                .iter()
                .filter(|name| !all.contains(name))
                .cloned()
                .collect::<Vec<_>>(),
        );
        self.issue(
            "cardio-gateway",
            all,
            ExtendedKeyUsagePurpose::ServerAuth,
            SERVER_DAYS,
            now,
        )
    }

    /// Issues the client certificate of a box.
    ///
    /// # Errors
    /// [`KeyError::Certificate`] when the library refuses.
    pub fn issue_box(&self, subject: &str, now: UtcMicros) -> Result<Issued, KeyError> {
        self.issue(
            subject,
            Vec::new(),
            ExtendedKeyUsagePurpose::ClientAuth,
            BOX_DAYS,
            now,
        )
    }

    fn issue(
        &self,
        subject: &str,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
        days: i64,
        now: UtcMicros,
    ) -> Result<Issued, KeyError> {
        let failed = |source| KeyError::Certificate {
            subject: subject.to_owned(),
            source,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = named(subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, days);
        let certificate = params.signed_by(&key, &self.ca).map_err(failed)?;
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

    let failed = |source| KeyError::Certificate {
        subject: "the certificate authority".to_owned(),
        source,
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = named("cardio-gateway authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, CA_DAYS);
    let certificate = params.self_signed(&key).map_err(failed)?;
    write_private(&draft.join(CA_CERTIFICATE), certificate.pem().as_bytes())?;
    write_private(&draft.join(CA_KEY), key.serialize_pem().as_bytes())?;

    let random = SystemRandom::new();
    let recipient = RecipientSecretKey::generate(&random).map_err(|_| KeyError::NoRandomness {
        what: "the recipient key",
    })?;
    write_private(&draft.join(RECIPIENT_KEY), recipient.to_bytes().as_ref())?;
    let (_, control) = SigningKey::generate(&random).map_err(|_| KeyError::NoRandomness {
        what: "the control key",
    })?;
    write_private(&draft.join(CONTROL_KEY), &control)?;
    let mut token = Zeroizing::new([0_u8; 32]);
    random
        .fill(token.as_mut())
        .map_err(|_| KeyError::NoRandomness {
            what: "the reader token",
        })?;
    write_private(&draft.join(API_TOKEN), hex(token.as_ref()).as_bytes())?;

    sync_folder(&draft)?;
    std::fs::rename(&draft, folder).map_err(io("complete", folder))?;
    folder.parent().map_or(Ok(()), sync_folder)
}

fn named(subject: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    name
}

fn set_validity(params: &mut CertificateParams, now: UtcMicros, days: i64) {
    let (year, month, day) = calendar(now.0.saturating_sub(DAY_MICROS));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = calendar(now.0.saturating_add(days.saturating_mul(DAY_MICROS)));
    params.not_after = rcgen::date_time_ymd(year, month, day);
}

fn calendar(micros: i64) -> (i32, u8, u8) {
    let date = jiff::Timestamp::from_microsecond(micros)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    (
        i32::from(date.year()),
        u8::try_from(date.month()).unwrap_or(1),
        u8::try_from(date.day()).unwrap_or(1),
    )
}

/// Writes a file that only its owner may read, and waits until it is on disk.
///
/// # Errors
/// [`KeyError::Io`] when the file exists or cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io("create", path))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(io("write", path))
}

fn sync_folder(folder: &Path) -> Result<(), KeyError> {
    std::fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(io("sync", folder))
}

fn secret_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mode = std::fs::metadata(path)
        .map_err(io("read", path))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(io("read", path))
}

fn secret_text(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let bytes = secret_bytes(path)?;
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| damaged(path, "text"))
}

fn text(path: &Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(io("read", path))
}

fn damaged(path: &Path, what: &'static str) -> KeyError {
    KeyError::Damaged {
        path: path.to_owned(),
        what,
    }
}

fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { act, path, source }
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
mod tests {
    use super::{GatewayKeys, KeyError};
    use cardio_core::clock::UtcMicros;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: UtcMicros = UtcMicros(1_790_000_000_000_000);

    #[test]
    fn a_second_start_opens_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let first = GatewayKeys::open_or_create(&folder, NOW).unwrap();
        let second = GatewayKeys::open_or_create(&folder, NOW).unwrap();
        assert_eq!(first.api_token, second.api_token);
        assert_eq!(first.control.public(), second.control.public());
        assert_eq!(first.ca_pem(), second.ca_pem());
        for entry in std::fs::read_dir(&folder).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        GatewayKeys::open_or_create(&folder, NOW).unwrap();
        let token = folder.join("api.token");
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
        let err = GatewayKeys::open_or_create(&folder, NOW).unwrap_err();
        assert!(
            matches!(err, KeyError::Exposed { mode: 0o644, .. }),
            "{err}"
        );
    }

    #[test]
    fn a_half_made_folder_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("keys.new")).unwrap();
        std::fs::write(dir.path().join("keys.new/ca.pem"), "half").unwrap();
        assert!(GatewayKeys::open_or_create(&dir.path().join("keys"), NOW).is_ok());
        assert!(!dir.path().join("keys.new").exists());
    }

    #[test]
    fn certificates_of_two_boxes_have_different_keys() {
        let dir = tempfile::tempdir().unwrap();
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), NOW).unwrap();
        let (a, b) = (
            keys.issue_box("a", NOW).unwrap(),
            keys.issue_box("b", NOW).unwrap(),
        );
        assert_ne!(a.key_hash, b.key_hash);
    }
}
