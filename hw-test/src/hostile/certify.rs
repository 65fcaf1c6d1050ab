//! Certificates that the gateway's own authority signs, with lives that a rig chooses. The rig
//! owns the gateway's key folder; nobody else does.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::visit::Stage;

fn authority(stage: &Stage) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let keys = stage.gateway_state().join("keys");
    let read = |name: &str| {
        let path = keys.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = KeyPair::from_pem(&read("ca.key.pem")?).context("the authority's key is no PEM")?;
    Issuer::from_ca_cert_pem(&read("ca.pem")?, key).context("the authority signs nothing")
}

/// A server certificate for `localhost` and its key, as DER.
pub(super) fn server(stage: &Stage) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority(stage)?)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// When a certificate of a box begins and ends, by this machine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    /// It has ended already.
    Ended,
    /// It ends so soon.
    For(Duration),
}

/// Gives the box of `stage` a certificate for the key that it has, with another life: the
/// enrolment file is written anew.
pub(super) fn certify_box(stage: &Stage, life: Life) -> anyhow::Result<()> {
    let path = stage.folder().join("enrolment.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut file: toml::Table = toml::from_str(&text).context("an enrolment that is no TOML")?;
    let id = file
        .get("box")
        .and_then(|part| part.get("id")?.as_str())
        .context("the enrolment has no box.id")?
        .to_owned();
    let keys = file.get_mut("keys").and_then(toml::Value::as_table_mut);
    let keys = keys.context("the enrolment has no keys")?;
    let key = keys.get("tls_key").and_then(toml::Value::as_str);
    let key = KeyPair::from_pem(key.context("the enrolment has no keys.tls_key")?)?;
    let certificate = box_params(&id, life)?.signed_by(&key, &authority(stage)?)?;
    keys.insert("tls_certificate".to_owned(), certificate.pem().into());
    write(
        &path,
        &toml::to_string(&file).context("an enrolment that cannot be written")?,
    )
}

fn box_params(id: &str, life: Life) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, id);
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = std::time::SystemTime::UNIX_EPOCH + crate::clock::since_1970();
    let hour = Duration::from_secs(3_600);
    let (from, to) = match life {
        Life::Ended => (now - 2 * hour, now - hour),
        Life::For(rest) => (now - hour, now + rest),
    };
    params.not_before = from.into();
    params.not_after = to.into();
    Ok(params)
}

/// Keeps the file's mode: it holds secrets.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
