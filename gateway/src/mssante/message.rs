//! The message around the archive (RFC 5322), with the headers of secure health mail: the kind of
//! the document, whether it bears a qualified national identity, and the software.

use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};

use super::MssanteError;
use super::facts::Gathered;
use crate::config::MssanteConfig;

/// A message, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

pub(super) fn write(
    of: &Gathered,
    to: &str,
    config: &MssanteConfig,
    archive: Vec<u8>,
) -> Result<Message, MssanteError> {
    let mailbox = |address: &str| {
        let address = address.to_owned();
        Mailbox::from_str(&address).map_err(|_| MssanteError::Address { address })
    };
    let (from, to) = (mailbox(&config.from)?, mailbox(to)?);
    let signed = u64::try_from(of.signed.0).unwrap_or_default();
    let date = SystemTime::UNIX_EPOCH + Duration::from_micros(signed);
    let id = format!("<{}@{}>", of.document, from.email.domain());
    let builder = lettre::Message::builder()
        .from(from)
        .to(to)
        .date(date)
        .message_id(Some(id))
        .subject(subject(of, config));
    let text = SinglePart::plain(words(of, config));
    let kind = ContentType::parse("application/zip");
    let kind = kind.expect("invariant: this is a media type");
    let zip = Attachment::new("IHE_XDM.ZIP".to_owned()).body(archive, kind);
    let body = MultiPart::mixed().singlepart(text).singlepart(zip);
    let unwritable = |error: lettre::error::Error| MssanteError::Unwritable(error.to_string());
    let mut message = builder.multipart(body).map_err(unwritable)?;
    let qualified = if of.patient.is_qualified { "O" } else { "N" };
    for (name, value) in [
        ("X-MSS-CODECDA", config.document.code.as_str()),
        ("X-MSS-INS", qualified),
        ("X-MSS-NIL", config.nil.as_str()),
    ] {
        let name = HeaderName::new_from_ascii_str(name);
        let value = HeaderValue::new(name, value.to_owned());
        message.headers_mut().insert_raw(value);
    }
    Ok(Message {
        bytes: message.formatted(),
    })
}

/// The subject by which clients of secure health mail know an archive and whom it is about.
pub(super) fn subject(of: &Gathered, config: &MssanteConfig) -> String {
    let patient = &of.patient;
    let day: Vec<&str> = patient.birth_date.split('-').rev().collect();
    format!(
        "XDM/1.0/DDM+{} {} {} {}",
        config.document.name,
        patient.name.family,
        patient.name.given,
        day.join("/")
    )
}

fn words(of: &Gathered, config: &MssanteConfig) -> String {
    format!(
        "Bonjour,\r\n\r\nVeuillez trouver ci-joint le document « {} », signé par le Dr {} {} \
         ({}).\r\n",
        config.document.name, of.doctor.given, of.doctor.family, of.team.name
    )
}
