//! What the command line and the running program say to each other.

use cardio_alert::life::CloseReason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::audit::Head;
use crate::access::{NewAccount, Role, Secret};
use crate::keys::ring::Purpose;

/// What the command line asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// How the program is.
    Status,
    /// The boxes.
    BoxesList,
    /// A new box.
    BoxesAdd {
        /// Its name.
        name: String,
        /// Where it is told to connect, if not where this program listens.
        endpoint: Option<String>,
    },
    /// A box that must not connect any more.
    BoxesRevoke {
        /// Its name.
        name: String,
    },
    /// An invitation for a new box.
    BoxesInvite {
        /// Its name.
        name: String,
    },
    /// The invitations, and the requests that claim them.
    BoxesPending,
    /// A request that is let in.
    BoxesConfirm {
        /// The name of the box.
        name: String,
        /// The six words that the box shows.
        words: String,
    },
    /// A request or invitation that is not.
    BoxesRefuse {
        /// The name of the box.
        name: String,
    },
    /// A box that is to stop sending until it connects again.
    BoxesPause {
        /// Its name.
        name: String,
    },
    /// The team that carries a box.
    BoxesTeam {
        /// The box's name.
        name: String,
        /// The team, as `Organization/id`; none when no team does.
        team: Option<String>,
    },
    /// The keys that change.
    KeysList,
    /// A new key.
    KeysRotate {
        /// What for.
        purpose: Purpose,
    },
    /// A kept key to forget.
    KeysRetire {
        /// Its id.
        id: String,
        /// Even if boxes may still need it.
        anyway: bool,
    },
    /// A new account.
    AccountsAdd {
        /// The account.
        account: NewAccount,
        /// Its password, if people log in with it.
        password: Option<Secret>,
    },
    /// The accounts.
    AccountsList,
    /// An account that is shut.
    AccountsDisable {
        /// Its name.
        name: String,
    },
    /// An account that is opened again.
    AccountsEnable {
        /// Its name.
        name: String,
    },
    /// Another password.
    AccountsPassword {
        /// The account.
        name: String,
        /// The password.
        password: Secret,
    },
    /// A token for a program.
    AccountsToken {
        /// The account.
        name: String,
        /// What the token is for.
        label: String,
        /// What it may do at most, if less than the account.
        role: Option<Role>,
        /// How many days it holds.
        days: u32,
    },
    /// A token that holds no longer.
    AccountsRevoke {
        /// The account.
        name: String,
        /// What the token was for.
        label: String,
    },
    /// Whether the trace of who did what is whole.
    AuditVerify {
        /// A head that was noted before.
        noted: Option<Head>,
    },
    /// The alerts.
    AlertsList,
    /// Why an alert was raised.
    AlertsExplain {
        /// Its id, or the beginning of it.
        id: String,
    },
    /// An alert that a person has opened.
    AlertsSeen {
        /// Its id, or the beginning of it.
        id: String,
        /// The person, as a reference such as `PractitionerRole/cardio1`.
        by: String,
    },
    /// An alert that a person takes on.
    AlertsAcknowledge {
        /// Its id, or the beginning of it.
        id: String,
        /// The person, as a reference such as `PractitionerRole/cardio1`.
        by: String,
    },
    /// An alert that needs nobody any more.
    AlertsClose {
        /// Its id, or the beginning of it.
        id: String,
        /// The person, as a reference such as `PractitionerRole/cardio1`.
        by: String,
        /// Why.
        reason: CloseReason,
        /// In the person's words.
        note: Option<String>,
    },
    /// A copy of inbox, record and invitations as they are now.
    Backup {
        /// A folder that does not exist yet.
        folder: std::path::PathBuf,
    },
    /// The record without names, as files for a data warehouse.
    RecordsBulk {
        /// A folder that does not exist yet.
        folder: std::path::PathBuf,
        /// The file of the key that decides the pseudonyms.
        key: std::path::PathBuf,
    },
    /// Frames that could not be filed.
    RecordsQuarantine,
    /// Acquisitions.
    RecordsFind {
        /// Logical id of a patient.
        patient: Option<String>,
    },
    /// Figures of the team over a time, as a MeasureReport.
    Indicators {
        /// From here, in microseconds since 1970.
        from_us: i64,
        /// To here, which no longer belongs to it.
        to_us: i64,
    },
    /// An exam that belongs to another patient.
    RecordsAssign {
        /// Its id.
        acquisition: String,
        /// Logical id of the patient.
        patient: String,
        /// Who answers for it.
        by: String,
        /// Why.
        why: String,
    },
    /// Acquisitions that were made for no request.
    RecordsOrphans,
    /// The request that an exam was made for.
    RecordsRequest {
        /// Its id.
        acquisition: String,
        /// Logical id of the ServiceRequest.
        request: String,
        /// Who answers for it.
        by: String,
        /// Why.
        why: String,
    },
    /// Two records that are of one patient.
    RecordsMerge {
        /// Logical id whose record is continued elsewhere.
        patient: String,
        /// Logical id under which it is continued.
        into: String,
        /// Who answers for it.
        by: String,
        /// Why.
        why: String,
    },
    /// The other servers that hold the record too.
    PushList,
    /// A server that is to be tried at once.
    PushRetry {
        /// What it is called.
        name: String,
    },
    /// Resources of one patient or acquisition.
    RecordsExport {
        /// A reference such as `Patient/p1` or `DiagnosticReport/…`.
        root: String,
    },
}

/// What the command line is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What it asked for.
    Ok(Value),
    /// Why not.
    Error(Refused),
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What, and because of what, outermost first.
    pub chain: Vec<String>,
    /// Stable identifier.
    pub code: String,
}

impl Refused {
    pub(super) fn of(error: &dyn std::error::Error, code: &str) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push(cause.to_string());
            source = cause.source();
        }
        Self {
            chain,
            code: code.to_owned(),
        }
    }
}
