//! Certificates that the gateway's own authority signs, with lives that a rig chooses. The rig
//! owns the gateway's key folder; nobody else does.

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
    let mut file = read_enrolment(stage)?;
    let id = file
        .get("box")
        .and_then(|part| part.get("id")?.as_str())
        .context("the enrolment has no box.id")?
        .to_owned();
    let keys = part(&mut file, "keys")?;
    let key = keys.get("tls_key").and_then(toml::Value::as_str);
    let key = KeyPair::from_pem(key.context("the enrolment has no keys.tls_key")?)?;
    let certificate = box_params(&id, life)?.signed_by(&key, &authority(stage)?)?;
    keys.insert("tls_certificate".to_owned(), certificate.pem().into());
    write_enrolment(stage, &file)
}

/// Names an address for renewals where nobody answers: a box that reaches the gateway's own
/// renews its certificate long before it ends.
pub(super) fn hide_renewal(stage: &Stage) -> anyhow::Result<()> {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut file = read_enrolment(stage)?;
    part(&mut file, "gateway")?.insert("renewal".to_owned(), nobody.to_string().into());
    write_enrolment(stage, &file)
}

fn part<'a>(file: &'a mut toml::Table, name: &str) -> anyhow::Result<&'a mut toml::Table> {
    file.get_mut(name)
        .and_then(toml::Value::as_table_mut)
        .with_context(|| format!("the enrolment has no {name}"))
}

fn read_enrolment(stage: &Stage) -> anyhow::Result<toml::Table> {
    let path = stage.folder().join("enrolment.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).context("an enrolment that is no TOML")
}

/// Keeps the file's mode: it holds secrets.
fn write_enrolment(stage: &Stage, file: &toml::Table) -> anyhow::Result<()> {
    let path = stage.folder().join("enrolment.toml");
    let text = toml::to_string(file).context("an enrolment that cannot be written")?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
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
