use super::ring::{Purpose, Role};
use super::{GatewayKeys, KeyError, Requested};
use cardio_core::clock::UtcMicros;
use cardio_wire::keys::TrustedKeys;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

const LIFE: Duration = Duration::from_secs(90 * 86_400);
const NOW: UtcMicros = UtcMicros(1_790_000_000_000_000);

#[test]
fn a_second_start_opens_the_same_keys() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let first = GatewayKeys::open_or_create(&folder, LIFE, NOW).unwrap();
    let second = GatewayKeys::open_or_create(&folder, LIFE, NOW).unwrap();
    assert_eq!(first.api_token, second.api_token);
    assert_eq!(first.trusted().unwrap(), second.trusted().unwrap());
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
    GatewayKeys::open_or_create(&folder, LIFE, NOW).unwrap();
    let token = folder.join("api.token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let err = GatewayKeys::open_or_create(&folder, LIFE, NOW).unwrap_err();
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
    assert!(GatewayKeys::open_or_create(&dir.path().join("keys"), LIFE, NOW).is_ok());
    assert!(!dir.path().join("keys.new").exists());
}

#[test]
fn certificates_of_two_boxes_have_different_keys() {
    let dir = tempfile::tempdir().unwrap();
    let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), LIFE, NOW).unwrap();
    let (a, b) = (
        keys.issue_box("a", NOW).unwrap(),
        keys.issue_box("b", NOW).unwrap(),
    );
    assert_ne!(a.key_hash, b.key_hash);
}

fn keys(dir: &tempfile::TempDir) -> GatewayKeys {
    GatewayKeys::open_or_create(&dir.path().join("keys"), LIFE, NOW).unwrap()
}

#[test]
fn what_was_sealed_to_an_older_key_still_opens_until_it_is_retired() {
    let dir = tempfile::tempdir().unwrap();
    let first = keys(&dir).trusted().unwrap().recipient.key_id();
    let second = keys(&dir).rotate_recipient(NOW).unwrap();
    let again = keys(&dir);
    assert_eq!(
        again.trusted().unwrap().recipient.key_id().to_string(),
        second
    );
    assert_eq!(again.recipient(first).unwrap().key_id(), first);
    let err = again.retire(&second).unwrap_err();
    assert_eq!(err.code(), "keys.in-use");
    again.retire(&first.to_string()).unwrap();
    assert_eq!(again.retire("ff").unwrap_err().code(), "keys.unknown");
    assert_ne!(again.recipient(first).unwrap().key_id(), first, "forgotten");
    let file = dir.path().join(format!("keys/recipient-{first}.key"));
    assert!(!file.exists());
    assert_eq!(keys(&dir).entries().len(), 3);
}

#[test]
fn a_box_that_missed_changes_is_spoken_to_with_a_key_that_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(&dir);
    let before: TrustedKeys = keys.trusted().unwrap();
    keys.rotate_control(NOW).unwrap();
    let after = keys.trusted().unwrap();
    assert_eq!(after.control, before.control_next);
    let speaker = |pinned: &TrustedKeys| {
        let speaker = keys.speaker(&pinned.ids());
        speaker.map(|key| key.verifying_key())
    };
    assert_eq!(speaker(&before), Some(after.control));
    keys.rotate_control(NOW).unwrap();
    assert_eq!(speaker(&before), Some(before.control_next), "kept");
    for kept in [before.control, before.control_next] {
        keys.retire(&kept.key_id().to_string()).unwrap();
    }
    assert_eq!(speaker(&before), None, "must be enrolled anew");
}

#[test]
fn a_rotation_that_the_disk_refuses_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(&dir);
    let before = keys.trusted().unwrap();
    std::fs::create_dir(dir.path().join("keys/ring.new")).unwrap();
    assert_eq!(keys.rotate_recipient(NOW).unwrap_err().code(), "keys.io");
    assert_eq!(keys.trusted().unwrap(), before);
    let roles: Vec<(Purpose, Role)> = keys
        .entries()
        .iter()
        .map(|key| (key.purpose, key.role))
        .collect();
    assert_eq!(
        roles,
        [
            (Purpose::Recipient, Role::Active),
            (Purpose::Control, Role::Current),
            (Purpose::Control, Role::Next)
        ]
    );
}

#[test]
fn a_request_for_a_certificate_is_taken_only_with_its_own_signature() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(&dir);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    let requested = Requested::read(&csr).unwrap();
    let pem = keys.certify_box(&requested, "a-box", NOW).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=a-box");
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    assert_eq!(
        crate::tls::key_hash(&pem.contents.clone().into()),
        Some(requested.key_hash)
    );
    let days = certificate.validity().not_after.timestamp() - NOW.0 / 1_000_000;
    assert_eq!(days, 90 * 86_400);
    let mut forged = csr.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(Requested::read(&forged).is_none());
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other = params.serialize_request(&other).unwrap().der().to_vec();
    assert!(Requested::read(&other).is_none(), "not P-256");
}
