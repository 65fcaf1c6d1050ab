//! Mail by SMTP (RFC 5321), always over TLS.
//!
//! Delivered means that the mail server has taken the message over for its recipient. The
//! message's id follows from alert and person, so that a message that came twice is known as
//! one. Deliberately absent: passwords in the configuration; they are files.

use std::str::FromStr as _;

use cardio_alert::duty::Person;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::{DeliveryError, LIMIT, Notice, Unsent};
use crate::config::MailConfig;
use crate::outgoing::{OutgoingError, read};

/// A mail server, and who we are there.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

impl Mail {
    pub(super) fn new(config: &MailConfig) -> Result<Self, DeliveryError> {
        let impossible = |key, why: String| OutgoingError::impossible(key, why);
        let from = Mailbox::from_str(&config.from)
            .map_err(|error| impossible("delivery.mail.from", error.to_string()))?;
        let (host, port) = (config.server.host.as_str(), config.server.port);
        let mut tls = TlsParameters::builder(host.to_owned());
        if let Some(path) = &config.ca {
            let pem = read("delivery.mail.ca", path)?;
            let ca = Certificate::from_pem(&pem)
                .map_err(|error| impossible("delivery.mail.ca", error.to_string()))?;
            // Only the authority that is named vouches for the server.
            tls = tls
                .certificate_store(CertificateStore::None)
                .add_root_certificate(ca);
        }
        let tls = tls
            .build_rustls()
            .map_err(|error| impossible("delivery.mail", error.to_string()))?;
        let tls = if config.starttls {
            Tls::Required(tls)
        } else {
            Tls::Wrapper(tls)
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .timeout(Some(LIMIT));
        if let Some(user) = &config.user {
            let path = config.password_file.as_deref().ok_or_else(|| {
                let why = "`user` needs `password_file`".to_owned();
                impossible("delivery.mail.user", why)
            })?;
            let password = read("delivery.mail.password_file", path)?;
            let password = String::from_utf8_lossy(&password).trim_end().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self {
            transport: builder.build(),
            from,
        })
    }

    pub(super) async fn send(
        &self,
        person: &Person,
        notice: &Notice,
        link: Option<&str>,
    ) -> Result<(), Unsent> {
        let address = person.mail.as_deref().unwrap_or_default();
        let to = Mailbox::from_str(address)
            .map_err(|error| Unsent::for_good("the mail address is none", error))?;
        let domain = self.from.email.domain();
        let id = cardio_fhir::ids::communication(&notice.alert, &person.who);
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .message_id(Some(format!("<{id}@{domain}>")))
            .subject(notice.subject())
            .header(header::ContentType::TEXT_PLAIN)
            .body(notice.body(link))
            .map_err(|error| Unsent::for_good("the mail cannot be written", error))?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(Unsent::for_good(
                "the mail server refused it for good",
                error,
            )),
            Err(error) => Err(Unsent::for_now("the mail server did not take it", error)),
        }
    }
}
