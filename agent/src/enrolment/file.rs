//! The enrolment on disk: TOML, one owner, replaced as a whole.
//!
//! Replacing: a draft beside it (0600) is written and flushed, renamed over the file, and the
//! folder is flushed. Texts that hold a secret are wiped from memory when they are dropped.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cardio_core::clock::UtcMicros;
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys, VerifyingKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{Enrolment, EnrolmentError};

/// The form of the file.
const SCHEMA: &str = "enrolment/1";

/// The file, field by field.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    pub(crate) schema: Schema,
    #[serde(rename = "box")]
    pub(crate) site: BoxPart,
    pub(crate) gateway: GatewayPart,
    pub(crate) keys: KeysPart,
}

/// The form that this version reads and writes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Schema {
    #[serde(rename = "enrolment/1")]
    V1,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoxPart {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The number of the last command that was carried out.
    #[serde(default)]
    pub(crate) last_command: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayPart {
    pub(crate) endpoint: String,
    pub(crate) server_name: String,
    /// Where certificates are renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renewal: Option<String>,
    pub(crate) ca_certificate: String,
    /// The authority at `renewal`, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) renewal_ca_certificate: Option<String>,
    pub(crate) recipient_key: String,
    pub(crate) control_key: String,
    /// The control key after the present one; none is known when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_control_key: Option<String>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeysPart {
    pub(crate) tls_certificate: String,
    #[serde(deserialize_with = "secret", serialize_with = "as_text")]
    pub(crate) tls_key: Zeroizing<String>,
    #[serde(deserialize_with = "secret", serialize_with = "as_text")]
    pub(crate) frame_key: Zeroizing<String>,
}

impl std::fmt::Debug for KeysPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeysPart")
    }
}

pub(crate) fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

pub(crate) fn as_text<S: Serializer>(
    secret: &Zeroizing<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}

/// The enrolment of this box, shared by the tasks that read and change it.
#[derive(Debug)]
pub struct EnrolmentFile {
    path: PathBuf,
    parts: Mutex<Parts>,
}

impl EnrolmentFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`EnrolmentError`] says what is wrong, without repeating a secret.
    pub fn open(path: &Path) -> Result<Self, EnrolmentError> {
        let parts: Parts = parse(path, &read_private(path)?)?;
        let file = Self {
            path: path.to_owned(),
            parts: Mutex::new(parts),
        };
        file.enrolment()?;
        Ok(file)
    }

    /// Makes the file at `path`, or replaces what lies there.
    ///
    /// # Errors
    /// [`EnrolmentError`] when a part is unusable or the disk refuses.
    pub(crate) fn create(path: &Path, parts: Parts) -> Result<Self, EnrolmentError> {
        read_parts(&parts, path)?;
        replace(path, &parts)?;
        Ok(Self {
            path: path.to_owned(),
            parts: Mutex::new(parts),
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now.
    ///
    /// # Errors
    /// [`EnrolmentError::Form`] or [`EnrolmentError::Key`] name the part at fault.
    pub fn enrolment(&self) -> Result<Enrolment, EnrolmentError> {
        read_parts(&self.parts(), &self.path)
    }

    /// Notes that command `number` is being carried out, and the keys that hold from now on.
    ///
    /// # Errors
    /// [`EnrolmentError::Unwritable`]; the file then says what it said.
    pub fn note_command(&self, number: u64, trusted: &TrustedKeys) -> Result<(), EnrolmentError> {
        self.change(|parts| {
            parts.site.last_command = number;
            parts.gateway.recipient_key = BASE64.encode(trusted.recipient.0);
            parts.gateway.control_key = BASE64.encode(trusted.control.0);
            parts.gateway.next_control_key = Some(BASE64.encode(trusted.control_next.0));
        })
    }

    /// Puts a renewed certificate in the place of the present one.
    ///
    /// # Errors
    /// [`EnrolmentError::Form`] when it is none, is for another key, or ends no later than the
    /// present one; [`EnrolmentError::Unwritable`].
    pub fn renew(&self, certificate_pem: &str) -> Result<(), EnrolmentError> {
        let present = self.parts().keys.tls_certificate.clone();
        let (_, until) = certificate_life(&present, &self.path)?;
        let (_, renewed_until) = certificate_life(certificate_pem, &self.path)?;
        let point = point_of(&present).unwrap_or_default();
        if renewed_until <= until || !certifies(certificate_pem, &point) {
            let why = "the renewed certificate is none of this box".to_owned();
            return Err(form(&self.path, why));
        }
        self.change(|parts| certificate_pem.clone_into(&mut parts.keys.tls_certificate))
    }

    /// The latest instant that is surely past: when the file was written, or when the
    /// certificate in it began to hold.
    pub fn certainly_past(&self) -> UnixTime {
        let written = std::fs::metadata(&self.path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let begun = certificate_life(&self.parts().keys.tls_certificate, &self.path)
            .ok()
            .and_then(|(begin, _)| u64::try_from(begin.0).ok())
            .map(Duration::from_micros);
        UnixTime::since_unix_epoch(written.max(begun).unwrap_or(Duration::ZERO))
    }

    /// Overwrites and removes the file: the box is no longer trusted.
    ///
    /// # Errors
    /// What the system said; the file may then still hold its secrets.
    pub fn wipe(&self) -> std::io::Result<()> {
        wipe(&self.path)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) -> Result<(), EnrolmentError> {
        let mut parts = self.parts();
        let mut changed = parts.clone();
        change(&mut changed);
        replace(&self.path, &changed)?;
        *parts = changed;
        Ok(())
    }
}

/// Overwrites a file and removes it, as far as a file system lets one.
pub(crate) fn wipe(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    std::io::copy(&mut std::io::repeat(0).take(len), &mut file)?;
    file.sync_all()?;
    std::fs::remove_file(path)
}

/// Reads a file that must be its owner's alone.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, EnrolmentError> {
    let unreadable = |source| EnrolmentError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(EnrolmentError::Exposed { path, mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Reads TOML that may hold secrets.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(
    path: &Path,
    text: &str,
) -> Result<T, EnrolmentError> {
    // the parser's own words may repeat a line of the file, so only its place is told
    toml::from_str(text).map_err(|err| {
        let at = err.span().map_or(0, |span| span.start);
        let line = text.get(..at).map_or(0, |head| head.lines().count());
        form(path, format!("line {line} is not as expected ({SCHEMA})"))
    })
}

/// Replaces a file by what `content` says, as a whole and durably.
pub(crate) fn replace(path: &Path, content: &impl Serialize) -> Result<(), EnrolmentError> {
    let text = toml::to_string(content)
        .map(Zeroizing::new)
        .map_err(|_| form(path, "its parts cannot be written as TOML".to_owned()))?;
    write_whole(path, text.as_bytes()).map_err(|source| EnrolmentError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match std::fs::remove_file(&draft) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn form(path: &Path, why: String) -> EnrolmentError {
    EnrolmentError::Form {
        path: path.to_owned(),
        why,
    }
}

/// From when to when a certificate holds.
fn certificate_life(pem: &str, path: &Path) -> Result<(UtcMicros, UtcMicros), EnrolmentError> {
    let none = || form(path, "its certificate cannot be read".to_owned());
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| none())?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| none())?;
    let validity = certificate.validity();
    let micros =
        |at: x509_parser::time::ASN1Time| UtcMicros(at.timestamp().saturating_mul(1_000_000));
    Ok((micros(validity.not_before), micros(validity.not_after)))
}

/// Whether a certificate is for the public key with this point.
pub(crate) fn certifies(pem: &str, point: &[u8]) -> bool {
    !point.is_empty() && point_of(pem).is_some_and(|found| found == point)
}

fn point_of(pem: &str) -> Option<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(certificate.public_key().subject_public_key.data.to_vec())
}

/// A certificate as PEM (RFC 7468, section 5).
pub(crate) fn pem_of(der: &[u8]) -> String {
    let digits = BASE64.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            pem.push('\n');
        }
        pem.push(digit);
    }
    pem + "\n-----END CERTIFICATE-----\n"
}

fn read_parts(parts: &Parts, path: &Path) -> Result<Enrolment, EnrolmentError> {
    let key = |what| {
        move |source| EnrolmentError::Key {
            path: path.to_owned(),
            what,
            source,
        }
    };
    let decode = |text: &str, what| {
        BASE64
            .decode(text.trim())
            .map(Zeroizing::new)
            .map_err(|_| key(what)(None))
    };
    let control_key = |text: &str, what| {
        VerifyingKey::from_bytes(&decode(text, what)?).map_err(|err| key(what)(Some(err)))
    };
    let address = |text: &str| {
        let wrong = || form(path, "an address in it is not HOST:PORT".to_owned());
        text.parse().map_err(|_| wrong())
    };
    let gateway = &parts.gateway;
    let frame_key = decode(&parts.keys.frame_key, "frame key")?;
    let recipient = decode(&gateway.recipient_key, "recipient key")?;
    let control = control_key(&gateway.control_key, "control key")?;
    let control_next = match &gateway.next_control_key {
        Some(text) => control_key(text, "next control key")?,
        None => control,
    };
    Ok(Enrolment {
        id: (parts.site.id.parse())
            .map_err(|_| form(path, "the box id is not a UUID".to_owned()))?,
        name: parts.site.name.clone(),
        endpoint: address(&gateway.endpoint)?,
        server_name: gateway.server_name.clone(),
        renewal: gateway.renewal.as_deref().map(address).transpose()?,
        renewal_ca: (gateway.renewal_ca_certificate.as_ref())
            .unwrap_or(&gateway.ca_certificate)
            .clone(),
        ca_certificate: gateway.ca_certificate.clone(),
        client_certificate: parts.keys.tls_certificate.clone(),
        certificate_life: certificate_life(&parts.keys.tls_certificate, path)?,
        client_key: parts.keys.tls_key.clone(),
        signer: SigningKey::from_pkcs8(&frame_key).map_err(|err| key("frame key")(Some(err)))?,
        trusted: TrustedKeys {
            recipient: RecipientPublicKey::from_bytes(&recipient)
                .map_err(|err| key("recipient key")(Some(err)))?,
            control,
            control_next,
        },
        last_command: parts.site.last_command,
    })
}

#[cfg(test)]
mod tests {
    use super::{BASE64, CertificateDer, Engine, EnrolmentError, EnrolmentFile, Path, PemObject};
    use cardio_wire::keys::{SigningKey, TrustedKeys, VerifyingKey};
    use std::os::unix::fs::PermissionsExt;

    fn certificate(key: &rcgen::KeyPair, to_month: u8) -> String {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, to_month, 1);
        params.self_signed(key).unwrap().pem()
    }

    fn text() -> String {
        text_with(&rcgen::KeyPair::generate().unwrap())
    }

    fn text_with(tls_key: &rcgen::KeyPair) -> String {
        let rng = ring::rand::SystemRandom::new();
        let (_, pkcs8) = SigningKey::generate(&rng).unwrap();
        let key = BASE64.encode([9; 32]);
        format!(
            "schema = \"enrolment/1\"\n\
             [box]\nid = \"0198c0de-0000-7000-8000-000000000001\"\nname = \"FR75-012\"\n\
             [gateway]\nendpoint = \"127.0.0.1:8883\"\nserver_name = \"localhost\"\n\
             ca_certificate = \"ca\"\nrecipient_key = \"{key}\"\ncontrol_key = \"{key}\"\n\
             [keys]\ntls_certificate = \"\"\"\n{}\"\"\"\ntls_key = \"secret-of-tls\"\n\
             frame_key = \"{}\"\n",
            certificate(tls_key, 4),
            BASE64.encode(pkcs8.as_slice())
        )
    }

    struct Bench(tempfile::TempDir);

    impl Bench {
        fn of(text: &str, mode: u32) -> Self {
            let bench = Self(tempfile::tempdir().unwrap());
            std::fs::write(bench.path(), text).unwrap();
            std::fs::set_permissions(bench.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            bench
        }

        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("enrolment.toml")
        }

        fn open(&self) -> Result<EnrolmentFile, EnrolmentError> {
            EnrolmentFile::open(&self.path())
        }
    }

    #[test]
    fn what_the_gateway_wrote_is_read() {
        let bench = Bench::of(&text(), 0o600);
        let enrolment = bench.open().unwrap().enrolment().unwrap();
        assert_eq!(enrolment.name, "FR75-012");
        assert_eq!(enrolment.endpoint.to_string(), "127.0.0.1:8883");
        assert_eq!(enrolment.trusted.control.0, [9; 32]);
        assert_eq!(enrolment.trusted.control_next.0, [9; 32], "none is known");
        let (begin, end) = enrolment.certificate_life;
        assert_eq!((end.0 - begin.0) / 86_400_000_000, 90);
    }

    #[test]
    fn a_command_and_a_certificate_are_found_again_after_a_restart() {
        let key = rcgen::KeyPair::generate().unwrap();
        let bench = Bench::of(&text_with(&key), 0o600);
        let file = bench.open().unwrap();
        let keys = TrustedKeys {
            recipient: cardio_wire::keys::RecipientPublicKey([1; 32]),
            control: VerifyingKey([2; 32]),
            control_next: VerifyingKey([3; 32]),
        };
        file.note_command(7, &keys).unwrap();
        let renewed = certificate(&key, 6);
        file.renew(&renewed).unwrap();
        let of_another = certificate(&rcgen::KeyPair::generate().unwrap(), 8);
        for wrong in ["no certificate", &certificate(&key, 5), &of_another] {
            assert_eq!(file.renew(wrong).unwrap_err().code(), "enrolment.form");
        }
        let again = bench.open().unwrap().enrolment().unwrap();
        assert_eq!((again.last_command, again.trusted), (7, keys));
        assert_eq!(again.client_certificate, renewed);
        let mode = std::fs::metadata(bench.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(bench.0.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_draft_that_a_power_cut_left_behind_changes_nothing() {
        let bench = Bench::of(&text(), 0o600);
        let draft = bench.0.path().join("enrolment.toml.new");
        std::fs::write(&draft, "half of a").unwrap();
        let file = bench.open().unwrap();
        let trusted = file.enrolment().unwrap().trusted;
        file.note_command(1, &trusted).unwrap();
        assert!(!draft.exists());
        assert_eq!(bench.open().unwrap().enrolment().unwrap().last_command, 1);
    }

    #[test]
    fn a_change_that_the_disk_refuses_is_no_change() {
        let bench = Bench::of(&text(), 0o600);
        let file = bench.open().unwrap();
        let trusted = file.enrolment().unwrap().trusted;
        // a folder in the place of the draft cannot be opened as a file
        std::fs::create_dir(bench.0.path().join("enrolment.toml.new")).unwrap();
        let err = file.note_command(9, &trusted).unwrap_err();
        assert_eq!(err.code(), "enrolment.unwritable");
        assert_eq!(file.enrolment().unwrap().last_command, 0);
    }

    #[test]
    fn the_present_is_never_before_the_certificate() {
        let bench = Bench::of(&text(), 0o600);
        let file = std::fs::File::options()
            .write(true)
            .open(bench.path())
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let past = bench.open().unwrap().certainly_past();
        assert_eq!(past.as_secs(), 1_767_225_600);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let err = Bench::of(&text(), 0o644).open().unwrap_err();
        assert_eq!(err.code(), "enrolment.exposed");
        assert!(err.to_string().contains("644"), "{err}");
    }

    #[test]
    fn an_error_never_repeats_a_secret() {
        let broken = text().replace("tls_key =", "tls_kee =");
        let err = Bench::of(&broken, 0o600).open().unwrap_err();
        assert_eq!(err.code(), "enrolment.form");
        assert!(!format!("{err} {err:?}").contains("secret-of-tls"));
    }

    #[test]
    fn what_is_printed_of_a_file_holds_no_secret() {
        let file = Bench::of(&text(), 0o600).open().unwrap();
        assert!(!format!("{file:?}").contains("secret-of-tls"));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let key = BASE64.encode([9; 32]);
        for (field, name) in [
            ("recipient_key", "recipient key"),
            ("control_key", "control key"),
        ] {
            let broken =
                text().replace(&format!("{field} = \"{key}"), &format!("{field} = \"AAAA"));
            let err = Bench::of(&broken, 0o600).open().unwrap_err();
            assert!(err.to_string().contains(name), "{err}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let err = EnrolmentFile::open(Path::new("/nowhere/box.toml")).unwrap_err();
        assert_eq!(err.code(), "enrolment.unreadable");
    }

    #[test]
    fn a_certificate_is_written_as_it_was_read() {
        let pem = certificate(&rcgen::KeyPair::generate().unwrap(), 4);
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(super::pem_of(&der), pem.replace("\r\n", "\n"));
    }

    #[test]
    fn a_wiped_file_is_gone() {
        let bench = Bench::of(&text(), 0o600);
        bench.open().unwrap().wipe().unwrap();
        assert!(!bench.path().exists());
    }
}
