//! The local socket between the running program and its command line.
//!
//! One line of JSON asks, one line answers. The socket's file has mode 0600: who may open it
//! may do what the command line can. Deliberately absent: anything for another machine.

mod accounts;
mod letting_in;
mod request;
mod traced;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cardio_alert::life::Step;
use cardio_core::clock::{Clock, ClockReading, UtcMicros};
use cardio_core::subject::SubjectRef;
use cardio_fhir::indicator::{Reporting, measure_report};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::access::Access;
use crate::boxes::Boxes;
use crate::broker::Standing;
use crate::counters::Counters;
use crate::db::{Readers, Writer};
use crate::enrol::desk::Desk;
use crate::gateway::RunError;
use crate::identity::{Corrected, Identities, IdentityError, Reason};
use crate::inbox::{BoxRow, Inbox};
use crate::keys::GatewayKeys;
use crate::{alerting, backup, bulk, clock, enrol, filing, indicators, push, record};

pub use request::{Answer, Refused, Request};

const REQUEST_MAX_BYTES: u64 = 64 * 1024;
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Frames in quarantine that `status` and `records quarantine` show.
const QUARANTINE_SHOWN: u64 = 100;
const QUARANTINE_MAX: u64 = 10_000;
/// Refused versions of each server that `push list` shows.
const PUSH_REFUSED_MAX: u64 = 100;

/// What answers need.
#[derive(Clone)]
pub struct Control {
    pub(crate) inbox: Inbox,
    pub(crate) readers: Readers,
    pub(crate) record: Writer,
    /// The duty as a whole, as a reference.
    pub(crate) recipient: Arc<str>,
    pub(crate) identities: Identities,
    pub(crate) access: Access,
    pub(crate) boxes: Arc<Boxes>,
    pub(crate) keys: Arc<GatewayKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) desk: Desk,
    /// Where boxes connect, unless all come through a broker.
    pub(crate) mqtt: Option<SocketAddr>,
    /// Where readers connect.
    pub(crate) https: SocketAddr,
    /// Where boxes enrol.
    pub(crate) enrol: SocketAddr,
    /// How we stand with the broker, if there is one.
    pub(crate) meets_at: Option<Standing>,
    /// Names of the servers that the record is pushed to.
    pub(crate) pushed: Arc<[String]>,
    pub(crate) started: ClockReading,
    pub(crate) state: std::path::PathBuf,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

/// Listens on the socket's path; a file that a dead program left there is replaced.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, RunError> {
    let failed = |source| RunError::Listen {
        what: "the command line",
        address: path.display().to_string(),
        source,
    };
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Answers until `stop` becomes true.
pub async fn listen(listener: UnixListener, control: Control, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if let Ok((stream, _)) = accepted {
            let control = control.clone();
            tokio::spawn(async move {
                // Who asked may have gone; nothing else depends on the answer.
                let _ = converse(stream, &control).await;
            });
        }
    }
}

async fn converse(stream: UnixStream, control: &Control) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_MAX_BYTES));
    tokio::time::timeout(REQUEST_LIMIT, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => match control.traced(request).await {
            Ok(value) => Answer::Ok(value),
            Err(refused) => Answer::Error(refused),
        },
        Err(error) => Answer::Error(Refused::of(&error, "control.request")),
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

impl Control {
    async fn answer(&self, request: Request) -> Result<Value, Refused> {
        match request {
            Request::Status => self.status().await,
            Request::BoxesList => self.boxes_list(),
            Request::BoxesAdd { name, endpoint } => self.add(&name, endpoint).await,
            Request::BoxesRevoke { name } => self.revoke(name).await,
            Request::BoxesInvite { name } => self.invite(&name).await,
            Request::BoxesPending => self.visitors().await,
            Request::BoxesConfirm { name, words } => self.confirm(&name, &words).await,
            Request::BoxesRefuse { name } => self.refuse(&name).await,
            Request::BoxesPause { name } => self.pause(&name),
            Request::BoxesTeam { name, team } => self.team(name, team).await,
            Request::KeysList => self.keys_list(),
            Request::KeysRotate { purpose } => self.rotate(purpose),
            Request::KeysRetire { id, anyway } => self.retire(&id, anyway),
            Request::AccountsAdd { account, password } => self.account_add(account, password).await,
            Request::AccountsList => self.accounts_list().await,
            Request::AccountsDisable { name } => self.account_shut(&name, true).await,
            Request::AccountsEnable { name } => self.account_shut(&name, false).await,
            Request::AccountsPassword { name, password } => {
                self.account_password(&name, password).await
            }
            Request::AccountsToken {
                name,
                label,
                role,
                days,
            } => self.account_token(&name, &label, role, days).await,
            Request::AccountsRevoke { name, label } => self.account_revoke(&name, &label).await,
            Request::AuditVerify { noted } => self.audit_verify(noted).await,
            Request::AlertsList => {
                let now = self.clock.read().utc;
                let alerts = self.read(move |c| alerting::list(c, now)).await?;
                Ok(json!({"schema": "alerts/1", "alerts": alerts}))
            }
            Request::AlertsExplain { id } => {
                let explained = self.read(move |c| alerting::explain(c, &id)).await?;
                explained.map_err(|error| Refused::of(&error, error.code()))
            }
            Request::AlertsSeen { id, by } => {
                let who = person(by)?;
                self.alert_step(id, Step::Seen { who }).await
            }
            Request::AlertsAcknowledge { id, by } => {
                let who = person(by)?;
                self.alert_step(id, Step::Acknowledged { who }).await
            }
            Request::AlertsClose {
                id,
                by,
                reason,
                note,
            } => {
                let who = person(by)?;
                self.alert_step(id, Step::Closed { who, reason, note })
                    .await
            }
            Request::Backup { folder } => {
                let from = backup::Originals {
                    inbox: self.inbox.readers().clone(),
                    record: self.readers.clone(),
                    invitations: self.desk.readers().clone(),
                    access: self.access.readers().clone(),
                };
                let work = move || backup::copy(&from, &folder);
                let copied = tokio::task::spawn_blocking(work).await;
                let copied = copied.map_err(|error| Refused::of(&error, "backup.stopped"))?;
                copied.map_err(|error| Refused::of(&error, error.code()))?;
                Ok(json!({"schema": "backup/1"}))
            }
            Request::RecordsBulk { folder, key } => {
                let readers = self.readers.clone();
                let work = move || bulk::export(&readers, &folder, &key);
                let written = tokio::task::spawn_blocking(work).await;
                let written = written.map_err(|error| Refused::of(&error, "bulk.stopped"))?;
                let counts = written.map_err(|error| Refused::of(&error, error.code()))?;
                Ok(json!({"schema": "bulk/1", "resources": counts}))
            }
            Request::RecordsQuarantine => {
                let total = self.read(filing::counts).await?.quarantined;
                let frames = self
                    .read(|c| filing::quarantined(c, QUARANTINE_MAX))
                    .await?;
                Ok(json!({"schema": "quarantine/1", "total": total, "quarantine": frames}))
            }
            Request::RecordsFind { patient } => {
                let found = self
                    .read(move |c| filing::find(c, patient.as_deref()))
                    .await?;
                Ok(json!({"schema": "records/1", "acquisitions": found}))
            }
            Request::Indicators { from_us, to_us } => {
                self.indicators((UtcMicros(from_us), UtcMicros(to_us)))
                    .await
            }
            Request::RecordsAssign {
                acquisition,
                patient,
                by,
                why,
            } => {
                let acquisition = acquisition
                    .parse()
                    .map_err(|error| Refused::of(&error, "id.uuid"))?;
                let (patient, reason) = (subject(&patient)?, Reason { by, why });
                corrected(self.identities.assign(acquisition, patient, reason).await)
            }
            Request::RecordsOrphans => {
                let found = self.read(filing::orphans).await?;
                Ok(json!({"schema": "records/1", "acquisitions": found}))
            }
            Request::RecordsRequest {
                acquisition,
                request,
                by,
                why,
            } => {
                let acquisition = acquisition
                    .parse()
                    .map_err(|error| Refused::of(&error, "id.uuid"))?;
                let reason = Reason { by, why };
                corrected(self.identities.request(acquisition, request, reason).await)
            }
            Request::RecordsMerge {
                patient,
                into,
                by,
                why,
            } => {
                let (patient, into) = (subject(&patient)?, subject(&into)?);
                let reason = Reason { by, why };
                corrected(self.identities.merge(patient, into, reason).await)
            }
            Request::PushList => {
                let pushed = self.pushed(PUSH_REFUSED_MAX).await?;
                Ok(json!({"schema": "push/1", "push": pushed}))
            }
            Request::PushRetry { name } => {
                let retrying = self.record.write(move |tx| push::retry(tx, &name));
                let known = retrying
                    .await
                    .map_err(|error| Refused::of(&error, error.code()))?;
                Ok(json!({"schema": "push-retry/1", "known": known}))
            }
            Request::RecordsExport { root } => {
                let resources = self.read(move |c| record::export(c, &root)).await?;
                Ok(json!({"resources": resources}))
            }
        }
    }

    async fn indicators(&self, (from, to): (UtcMicros, UtcMicros)) -> Result<Value, Refused> {
        let boxes = self.read(move |c| indicators::boxes(c, (from, to))).await?;
        let failed = |error: crate::db::DbError| Refused::of(&error, error.code());
        let lore = self.inbox.lore_async(boxes).await.map_err(failed)?;
        let figures = self
            .read(move |c| indicators::figures(c, &lore, (from, to)))
            .await?;
        let reporting = Reporting {
            id: "indicators",
            reporter: &self.recipient,
            made: self.clock.read().utc,
            from,
            to,
        };
        Ok(measure_report(&reporting, &figures))
    }

    async fn pushed(&self, shown: u64) -> Result<Vec<push::Standing>, Refused> {
        let names = Arc::clone(&self.pushed);
        self.read(move |c| push::standings(c, &names, shown)).await
    }

    async fn alert_step(&self, id: String, step: Step) -> Result<Value, Refused> {
        let (recipient, now) = (Arc::clone(&self.recipient), self.clock.read().utc);
        let taking = self
            .record
            .write(move |tx| alerting::take(tx, &id, &step, &recipient, now));
        let taken = taking
            .await
            .map_err(|error| Refused::of(&error, error.code()))?;
        let id = taken.map_err(|error| Refused::of(&error, error.code()))?;
        tracing::info!(event = "AlertStepTaken", alert = id);
        Ok(json!({"schema": "alert-step/1", "id": id}))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::db::Connection) -> Result<T, crate::db::DbError> + Send + 'static,
    ) -> Result<T, Refused> {
        self.readers
            .read_async(work)
            .await
            .map_err(|error| Refused::of(&error, error.code()))
    }

    async fn status(&self) -> Result<Value, Refused> {
        let failed = |error: crate::db::DbError| Refused::of(&error, error.code());
        let inbox = self.inbox.counts().map_err(failed)?;
        let record = self.read(filing::counts).await?;
        let quarantine = self
            .read(|c| filing::quarantined(c, QUARANTINE_SHOWN))
            .await?;
        let pushed = self.pushed(0).await?;
        let healthy = inbox.conflicts == 0
            && inbox.missing == inbox.named_in_gaps
            && inbox.broken_lanes == 0
            && inbox.forked_lanes == 0
            && record.quarantined == 0
            && pushed.iter().all(push::Standing::is_well)
            && self.meets_at.as_ref().is_none_or(Standing::is_connected);
        let now = self.clock.read();
        let broker = self.meets_at.as_ref();
        let up = now.box_instant.micros_since(&self.started.box_instant);
        let counters: serde_json::Map<String, Value> = self
            .counters
            .all()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), json!(count)))
            .collect();
        Ok(json!({
            "schema": "status/1",
            "verdict": if healthy { "RECEIVING" } else { "DEGRADED" },
            "version": env!("CARGO_PKG_VERSION"),
            "up_s": up.unwrap_or(0) / 1_000_000,
            "mqtt": self.mqtt.map(|at| at.to_string()),
            "broker": broker.map(|at| json!({
                "address": at.address().to_string(),
                "user": at.user(),
                "connected": at.is_connected(),
            })),
            "https": self.https.to_string(),
            "enrol": self.enrol.to_string(),
            "boxes": self.box_list().map_err(failed)?,
            "inbox": inbox,
            "record": record,
            "quarantine": quarantine,
            "push": pushed,
            "disk": self.disk(),
            "counters": counters,
        }))
    }

    /// What the state directory holds, and what room is left beside it.
    fn disk(&self) -> Value {
        let size = |name: &str| {
            let of = |name: String| std::fs::metadata(self.state.join(name)).map_or(0, |m| m.len());
            of(name.to_owned()).saturating_add(of(format!("{name}-wal")))
        };
        let free = rustix::fs::statvfs(&self.state)
            .map(|room| room.f_bavail.saturating_mul(room.f_frsize))
            .ok();
        json!({
            "inbox_bytes": size("inbox.sqlite"),
            "record_bytes": size("record.sqlite"),
            "access_bytes": size("access.sqlite"),
            "free_bytes": free,
        })
    }

    fn boxes_list(&self) -> Result<Value, Refused> {
        let boxes = self
            .box_list()
            .map_err(|error| Refused::of(&error, error.code()))?;
        Ok(json!({"schema": "boxes/1", "boxes": boxes}))
    }

    fn box_list(&self) -> Result<Vec<Value>, crate::db::DbError> {
        let live = self.boxes.live();
        let now = self.clock.read().utc;
        let rows = self.inbox.boxes()?;
        Ok(rows
            .iter()
            .map(|row| {
                let session = live.get(&row.known.id);
                let age =
                    |at: cardio_core::clock::UtcMicros| now.0.saturating_sub(at.0) / 1_000_000;
                let mut shown = shown_box(row);
                if let Some(map) = shown.as_object_mut() {
                    map.insert("connected".to_owned(), json!(session.is_some()));
                    map.insert(
                        "connected_s".to_owned(),
                        json!(session.map(|session| age(session.since))),
                    );
                    map.insert("heard_age_s".to_owned(), json!(row.heard.map(age)));
                }
                shown
            })
            .collect())
    }

    async fn add(&self, name: &str, endpoint: Option<String>) -> Result<Value, Refused> {
        let meeting = self.desk.meeting().clone().moved_to(endpoint);
        let now = self.clock.read().utc;
        let made = enrol::file::make(&self.keys, name, &meeting, now)
            .map_err(|error| Refused::of(&error, error.code()))?;
        self.inbox
            .enrol(made.new.clone())
            .await
            .map_err(|error| Refused::of(&error, error.code()))?;
        let id = made.new.known.id;
        self.boxes.admit(made.new.known.clone());
        tracing::info!(event = "BoxEnrolled", box_name = name);
        Ok(json!({"id": id.to_string(), "name": name, "file": made.file.as_str()}))
    }

    async fn revoke(&self, name: String) -> Result<Value, Refused> {
        let now = self.clock.read().utc;
        let id = self
            .inbox
            .revoke(name.clone(), now)
            .await
            .map_err(|error| Refused::of(&error, error.code()))?;
        self.boxes.revoke(id);
        tracing::info!(event = "BoxRevoked", box_name = name);
        Ok(json!({"id": id.to_string(), "name": name}))
    }
}

/// A person as a reference to the record.
fn person(who: String) -> Result<String, Refused> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let good = who.split_once('/').is_some_and(|(kind, id)| {
        matches!(kind, "Practitioner" | "PractitionerRole")
            && (1..=64).contains(&id.len())
            && id.chars().all(known)
    });
    if good {
        return Ok(who);
    }
    Err(Refused {
        chain: vec![format!(
            "{who:?} names nobody: give a reference such as PractitionerRole/cardio1"
        )],
        code: "alert.person".to_owned(),
    })
}

fn subject(text: &str) -> Result<SubjectRef, Refused> {
    SubjectRef::new(text).map_err(|error| Refused::of(&error, error.code()))
}

fn corrected(done: Result<Corrected, IdentityError>) -> Result<Value, Refused> {
    let done = done.map_err(|error| Refused::of(&error, error.code()))?;
    Ok(json!({
        "schema": "corrected/1",
        "acquisitions": done.acquisitions,
        "versions": done.versions,
        "provenance": done.provenance,
    }))
}

/// A box as `boxes list --json` shows it.
pub fn shown_box(row: &BoxRow) -> Value {
    json!({
        "name": row.known.name,
        "id": row.known.id.to_string(),
        "enrolled": clock::rfc3339(row.enrolled),
        "revoked": row.revoked.map(clock::rfc3339),
        "heard": row.heard.map(clock::rfc3339),
        "agent_version": row.agent_version,
        "free_bytes": row.free_bytes,
        "team": row.team,
    })
}
