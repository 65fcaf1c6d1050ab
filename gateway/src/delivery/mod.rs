//! How a message about an alert travels to a person: by mail, and to a program of the person
//! over HTTPS.
//!
//! A message holds no clinical content and no identity of a patient: it says that there is an
//! alert, how urgent it is, when it was raised, and where to look. Deliberately absent: whose
//! turn it is, and trying again; see [`crate::alerting`].

mod mail;
mod notice;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use cardio_alert::Roster;
use cardio_alert::duty::Person;
use cardio_core::clock::Clock;

use crate::config::DeliveryConfig;
use crate::outgoing::OutgoingError;

use mail::Mail;
pub(crate) use notice::Notice;
use webhook::Webhook;

/// Longest time for one delivery.
const LIMIT: Duration = Duration::from_secs(30);

/// A way to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Mail.
    Mail,
    /// A program of the person, over HTTPS.
    Webhook,
}

impl Channel {
    const ALL: [Self; 2] = [Self::Mail, Self::Webhook];

    /// Stable name in the store and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }

    /// The channel of a stable name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unsent {
    /// Whether another try is of no use.
    pub(crate) for_good: bool,
    /// In a few words, without an address.
    pub(crate) why: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Unsent {
    fn for_now<E>(why: &'static str, source: E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self {
            for_good: false,
            why,
            source: Some(source.into()),
        }
    }

    fn for_good<E>(why: &'static str, source: E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self {
            for_good: true,
            ..Self::for_now(why, source)
        }
    }

    /// The roster does not know the person any more.
    pub(crate) const fn gone() -> Self {
        Self::no_way("the person is no longer in the duty roster")
    }

    const fn no_way(why: &'static str) -> Self {
        Self {
            for_good: true,
            why,
            source: None,
        }
    }
}

/// Why messages cannot be delivered as they are configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// What the configuration says of another machine cannot be used.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    /// A person of the roster cannot be reached.
    #[error("the duty roster gives {who} only {channel}, but `{key}` is not configured")]
    Unreachable {
        /// The person.
        who: String,
        /// What it gives.
        channel: &'static str,
        /// What is missing.
        key: &'static str,
    },
}

impl DeliveryError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Outgoing(error) => error.code(),
            Self::Unreachable { .. } => "delivery.unreachable",
        }
    }
}

/// The channels that are configured.
#[derive(Debug)]
pub(crate) struct Delivery {
    mail: Option<Mail>,
    webhook: Option<Webhook>,
    link: Option<String>,
}

impl Delivery {
    /// The channels of a configuration.
    ///
    /// # Errors
    /// [`DeliveryError`] when a file cannot be read or a value cannot be used.
    pub(crate) fn new(
        config: &DeliveryConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, DeliveryError> {
        let webhook = |one| Webhook::new(one, Arc::clone(clock));
        Ok(Self {
            mail: config.mail.as_ref().map(Mail::new).transpose()?,
            webhook: config.webhook.as_ref().map(webhook).transpose()?,
            link: config.link.clone(),
        })
    }

    /// Whether everybody of a roster can be reached.
    ///
    /// # Errors
    /// [`DeliveryError::Unreachable`] names the first person who cannot.
    pub(crate) fn reaches(&self, roster: &Roster) -> Result<(), DeliveryError> {
        let lost = roster
            .people()
            .iter()
            .find(|person| self.channels_to(person).next().is_none());
        match lost {
            None => Ok(()),
            Some(person) => Err(DeliveryError::Unreachable {
                who: person.who.clone(),
                channel: if person.mail.is_some() {
                    "a mail address"
                } else {
                    "a webhook"
                },
                key: if person.mail.is_some() {
                    "delivery.mail"
                } else {
                    "delivery.webhook"
                },
            }),
        }
    }

    /// The ways to a person that are configured.
    pub(crate) fn channels_to(&self, person: &Person) -> impl Iterator<Item = Channel> {
        let mail = self.mail.is_some() && person.mail.is_some();
        let webhook = self.webhook.is_some() && person.webhook.is_some();
        Channel::ALL
            .into_iter()
            .filter(move |channel| match channel {
                Channel::Mail => mail,
                Channel::Webhook => webhook,
            })
    }

    /// Delivers a notice; well only when the other side has said that it has it.
    pub(crate) async fn send(
        &self,
        channel: Channel,
        person: &Person,
        notice: &Notice,
    ) -> Result<(), Unsent> {
        let link = self.link.as_deref();
        let sending = async {
            match (channel, &self.mail, &self.webhook) {
                (Channel::Mail, Some(mail), _) => mail.send(person, notice, link).await,
                (Channel::Webhook, _, Some(webhook)) => webhook.send(person, notice, link).await,
                _ => Err(Unsent::no_way("the channel is no longer configured")),
            }
        };
        match tokio::time::timeout(LIMIT, sending).await {
            Ok(sent) => sent,
            Err(late) => Err(Unsent::for_now(
                "the other side did not answer in time",
                late,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardio_alert::duty::EXAMPLE;

    #[test]
    fn a_roster_whose_people_no_configured_channel_reaches_is_refused() {
        let nothing = Delivery {
            mail: None,
            webhook: None,
            link: None,
        };
        let roster = Roster::from_toml(EXAMPLE).unwrap();
        let error = nothing.reaches(&roster).unwrap_err();
        assert_eq!(error.code(), "delivery.unreachable");
        assert!(error.to_string().contains("`delivery.mail`"), "{error}");
    }
}
