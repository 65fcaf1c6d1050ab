//! A signed report as a message of secure health mail (MSSanté) to another professional: a CDA
//! document in an XDM archive, with the headers and the subject that its clients file it by.
//!
//! The message is handed to whoever asks, ready to be sent; the professional's own secure mail
//! sends it. Deliberately absent: a drawing of the document (PDF/A-1) beside the archive, and the
//! sending.

mod cda;
mod facts;
mod message;
mod xdm;
mod xml;

use crate::config::MssanteConfig;
pub(crate) use facts::{Gathered, gather};
pub(crate) use message::Message;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MssanteError {
    /// No professional has answered for it yet, or not for all of it.
    #[error("the report is {status}: a doctor signs it first (`$sign`)")]
    NotSigned {
        /// Its status.
        status: String,
    },
    /// Something that the document must say is filed nowhere.
    #[error("{resource} says no {what}: write it first")]
    Missing {
        /// The resource.
        resource: String,
        /// What is missing there.
        what: &'static str,
    },
    /// The address is none.
    #[error("{address:?} is no mail address")]
    Address {
        /// What was given.
        address: String,
    },
    /// The message cannot be written.
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
}

/// Writes the message of what was gathered, to an address.
pub(crate) fn write(
    gathered: &Gathered,
    to: &str,
    config: &MssanteConfig,
) -> Result<Message, MssanteError> {
    let document = cda::document(gathered, config);
    let archive = xdm::archive(gathered, config, &document)?;
    message::write(gathered, to, config, archive)
}

#[cfg(test)]
mod tests;
