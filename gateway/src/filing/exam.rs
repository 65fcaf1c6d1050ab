//! One acquisition as the record knows it: its start, its end, its clock, its patient.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind};
use cardio_core::clock::{BoxInstant, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::ids::{AcquisitionId, BootId, BoxId};
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::subject::SubjectRef;
use cardio_fhir::report::ExamKind;
use cardio_fhir::time::Effective;
use cardio_fhir::waveform::Context;
use cardio_wire::lane::FrameIdentity;
use cardio_wire::record::{AcquisitionEndedV1, AcquisitionStartedV1, Record};

use super::clocks::{self, Reckoning};
use super::extents::{self, Extents};
use super::open::OpenedRecord;
use crate::clock::boots::{BoxTimes, Dated};
use crate::clock::tie::drift_over;
use crate::db::{Connection, DbError, values};
use crate::inbox::BoxLore;
use crate::upload::DESK;

/// Media type of an acquisition's original: its records as a sequence of CBOR (RFC 8742).
pub const ORIGINAL_MEDIA_TYPE: &str = "application/cbor-seq";

/// Records that are held in memory at once to read them all.
const RECORDS_AT_ONCE: u64 = 256;

const DAMAGED: DbError = DbError::Damaged { what: "record" };

/// What new records of an acquisition touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The start came, or the patient changed: everything is looked at again.
    pub(crate) all: bool,
    /// The end came: what was waiting for more is complete.
    pub(crate) ended: bool,
    /// The sensor said how it is.
    pub(crate) status: bool,
    /// Samples whose surroundings changed.
    pub(crate) around: BTreeSet<u64>,
    /// Samples just before records that came: what was waiting there may be complete.
    pub(crate) before: BTreeSet<u64>,
    /// Gaps that came, by their first sample.
    pub(crate) gaps: BTreeSet<u64>,
    /// Ends of the assessed windows that came.
    pub(crate) windows: BTreeSet<u64>,
}

impl Touched {
    /// Everything is looked at again.
    pub(crate) fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Whether there is something that the rules have not seen.
    pub(super) fn is_for_the_rules(&self) -> bool {
        self.all || self.ended || !self.windows.is_empty()
    }
}

/// Notes what a record touches.
pub(crate) fn touch(touched: &mut Vec<(AcquisitionId, Touched)>, opened: &OpenedRecord) {
    let (Some(acquisition), span) = super::rows::place(&opened.record) else {
        return;
    };
    let position = touched.iter().position(|(id, _)| *id == acquisition);
    let entry = match position.and_then(|at| touched.get_mut(at)) {
        Some((_, entry)) => entry,
        None => {
            touched.push((acquisition, Touched::default()));
            let Some((_, entry)) = touched.last_mut() else {
                return;
            };
            entry
        }
    };
    let (first, len) = span.map_or((0, 0), |(first, len)| (first.0, len));
    let last = first.saturating_add(len.saturating_sub(1));
    match &opened.record {
        Record::AcquisitionStarted(_) => entry.all = true,
        Record::AcquisitionEnded(_) => entry.ended = true,
        Record::Segment(_) | Record::HeartRates(_) => {
            entry.before.insert(first.saturating_sub(1));
            entry.around.extend([first, last]);
        }
        Record::Gap(_) => {
            entry.gaps.insert(first);
            entry.before.insert(first.saturating_sub(1));
            entry.around.insert(first);
        }
        Record::Assessment(_) => {
            entry.windows.insert(first.saturating_add(len));
            entry.around.insert(last);
        }
        Record::DeviceStatus(_) => entry.status = true,
        _ => {}
    }
}

/// An acquisition whose start is filed.
#[derive(Debug)]
pub(crate) struct Exam {
    pub(crate) started: AcquisitionStartedV1,
    pub(crate) ended: Option<AcquisitionEndedV1>,
    pub(crate) device: BoxId,
    pub(crate) context: Context,
    pub(crate) origin: FrameIdentity,
    /// When the start was received.
    pub(crate) received: UtcMicros,
    pub(crate) extents: Extents,
    pub(crate) agent_version: String,
    times: BoxTimes,
    reckonings: RefCell<BTreeMap<BootId, Reckoning>>,
    /// Whether a boot was dated since the acquisition was read.
    reckoned: Cell<bool>,
}

/// Reads an acquisition; `None` until its start is filed.
pub(crate) fn load(
    connection: &Connection,
    acquisition: AcquisitionId,
    lore: &BoxLore,
) -> Result<Option<Exam>, DbError> {
    let row = connection.row(
        "read the start of an acquisition",
        "SELECT r.bytes, r.box, r.lane, r.chain, r.seq, r.received_us, a.subject
         FROM records r JOIN acquisitions a ON a.id = r.acquisition AND a.box = r.box
         WHERE r.acquisition = ?1 AND r.kind = 'acquisition-started'
         ORDER BY r.received_us, r.seq LIMIT 1",
        values![acquisition],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let Ok(Record::AcquisitionStarted(mut started)) = Record::decode(&row.take::<Vec<u8>>(0)?)
    else {
        return Err(DAMAGED);
    };
    // Whose it is may have been corrected since the box said so.
    let subject: Option<String> = row.take(6)?;
    started.acquisition.subject = subject
        .map(|subject| SubjectRef::new(&subject).map_err(|_| DAMAGED))
        .transpose()?;
    let device: BoxId = row.take(1)?;
    let context = context(connection, device, &started.acquisition)?;
    Ok(Some(Exam {
        ended: ended(connection, acquisition, device)?,
        origin: FrameIdentity {
            device,
            lane: row.take(2)?,
            chain: row.take(3)?,
            seq: row.take(4)?,
        },
        received: row.take(5)?,
        extents: extents::of(connection, acquisition, device)?,
        agent_version: version_of(device, lore),
        times: clocks::times(connection, lore, device)?,
        reckonings: RefCell::new(clocks::reckonings(connection, acquisition)?),
        reckoned: Cell::new(false),
        started,
        device,
        context,
    }))
}

/// What an acquisition said of itself when it started, and the box that said it.
pub(crate) fn said_at_start(
    connection: &Connection,
    acquisition: AcquisitionId,
) -> Result<Option<(Acquisition, BoxId)>, DbError> {
    let row = connection.row(
        "read the start of an acquisition",
        "SELECT bytes, box FROM records WHERE acquisition = ?1 AND kind = 'acquisition-started'
         ORDER BY received_us, seq LIMIT 1",
        values![acquisition],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    match Record::decode(&row.take::<Vec<u8>>(0)?) {
        Ok(Record::AcquisitionStarted(started)) => Ok(Some((started.acquisition, row.take(1)?))),
        _ => Err(DAMAGED),
    }
}

/// Version of the program that made the records: for uploaded files, of this one.
fn version_of(device: BoxId, lore: &BoxLore) -> String {
    let known = lore.agent_versions.get(&device).cloned();
    known.unwrap_or_else(|| match device == DESK {
        true => env!("CARGO_PKG_VERSION").to_owned(),
        false => "unknown".to_owned(),
    })
}

fn ended(
    connection: &Connection,
    acquisition: AcquisitionId,
    device: BoxId,
) -> Result<Option<AcquisitionEndedV1>, DbError> {
    let bytes: Option<Vec<u8>> = connection.cell(
        "read the end of an acquisition",
        "SELECT bytes FROM records
         WHERE acquisition = ?1 AND kind = 'acquisition-ended' AND box = ?2
         ORDER BY first DESC LIMIT 1",
        values![acquisition, device],
    )?;
    bytes
        .map(|bytes| match Record::decode(&bytes) {
            Ok(Record::AcquisitionEnded(ended)) => Ok(ended),
            _ => Err(DAMAGED),
        })
        .transpose()
}

/// Who and what it is about. Data counts as simulated when its patient is a test identity.
fn context(
    connection: &Connection,
    device: BoxId,
    acquisition: &Acquisition,
) -> Result<Context, DbError> {
    let simulated = match &acquisition.subject {
        None => false,
        Some(subject) => connection
            .row(
                "look for a test identity",
                "SELECT 1 FROM index_tokens WHERE kind = 'Patient' AND id = ?1
                 AND param = '_security' AND code = 'HTEST' LIMIT 1",
                values![subject.as_str()],
            )?
            .is_some(),
    };
    Ok(Context {
        patient: acquisition.subject.clone(),
        box_device: cardio_fhir::ids::box_device(device),
        sensor: cardio_fhir::ids::sensor_device(device, &acquisition.source, &acquisition.device),
        performer: None,
        simulated,
    })
}

/// Calls `each` with every opened record of an acquisition, in chain order: exactly what the
/// box sealed.
pub(crate) fn each_record(
    connection: &Connection,
    acquisition: &[u8],
    mut each: impl FnMut(&[u8]),
) -> Result<(), DbError> {
    let act = "read the records of an acquisition";
    let mut place = (-1_i64, Vec::new(), -1_i64);
    loop {
        let rows = connection.rows(
            act,
            "SELECT r.bytes, r.lane, r.chain, r.seq FROM records r
             JOIN acquisitions a ON a.id = r.acquisition AND a.box = r.box
             WHERE r.acquisition = ?1 AND (r.lane, r.chain, r.seq) > (?2, ?3, ?4)
             ORDER BY r.lane, r.chain, r.seq LIMIT ?5",
            values![acquisition, place.0, place.1, place.2, RECORDS_AT_ONCE],
        )?;
        if rows.is_empty() {
            return Ok(());
        }
        for mut row in rows {
            each(&row.take::<Vec<u8>>(0)?);
            place = (row.take(1)?, row.take(2)?, row.take(3)?);
        }
    }
}

impl Exam {
    pub(crate) const fn id(&self) -> AcquisitionId {
        self.started.acquisition.id
    }

    pub(crate) const fn acquisition(&self) -> &Acquisition {
        &self.started.acquisition
    }

    /// Whether its sensor tells heart rates instead of samples.
    pub(crate) fn tells_rates(&self) -> bool {
        self.acquisition().waveforms.is_empty()
    }

    /// Which exam it is.
    pub(crate) fn kind(&self) -> ExamKind {
        let has = |lead: Lead| {
            self.acquisition()
                .waveforms
                .iter()
                .any(|row| row.kind == WaveformKind::Ecg(lead))
        };
        if self.tells_rates() {
            ExamKind::HeartRate
        } else if self.acquisition().attendance == Attendance::Unattended {
            ExamKind::Holter
        } else if Lead::MEASURED_EIGHT.into_iter().all(has) {
            ExamKind::Ecg12
        } else {
            ExamKind::Ecg
        }
    }

    /// When a reading was taken, as this acquisition is dated.
    pub(crate) fn wall(&self, at: &ClockReading) -> Dated {
        let BoxInstant { boot, micros } = at.box_instant;
        let reckoned = self.reckonings.borrow().get(&boot).copied();
        let reckoning = reckoned.unwrap_or_else(|| self.reckon(at));
        match reckoning.error_us {
            Some(error_us) => self.by(&reckoning, error_us, boot, micros),
            None => self.times.date(at),
        }
    }

    /// Dates a boot of the acquisition by a moment of it.
    fn reckon(&self, at: &ClockReading) -> Reckoning {
        let BoxInstant { boot, micros } = at.box_instant;
        let dated = self.times.date(at);
        let reckoning = Reckoning {
            micros,
            at: dated.at,
            error_us: dated.error_us.filter(|_| dated.is_vouched_for()),
        };
        self.reckonings.borrow_mut().insert(boot, reckoning);
        self.reckoned.set(true);
        reckoning
    }

    /// A moment by the reckoning of its boot: as far wrong as that may be, and the drift since.
    /// Facts near the moment may bound the error more closely.
    fn by(&self, reckoning: &Reckoning, error_us: u64, boot: BootId, micros: u64) -> Dated {
        let signed = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
        let passed = signed(micros).saturating_sub(signed(reckoning.micros));
        let at = UtcMicros(reckoning.at.0.saturating_add(passed));
        let drifted = error_us.saturating_add(drift_over(micros.abs_diff(reckoning.micros)));
        let bounds = self.times.bounds_at(boot, micros);
        let error = bounds
            .farthest(at)
            .map_or(drifted, |near| near.min(drifted));
        Dated {
            at,
            error_us: Some(error),
            bounds,
        }
    }

    /// Forgets how boots were dated of which more is known by now: they are dated anew.
    pub(crate) fn forget_outdated(&self) {
        let outdated = |boot: &BootId, was: &Reckoning| was.is_outdone(&self.times, *boot);
        let mut reckonings = self.reckonings.borrow_mut();
        reckonings.retain(|boot, was| !outdated(boot, was));
        self.reckoned.set(true);
    }

    /// How the boots of the acquisition are dated, if that changed since it was read.
    pub(crate) fn new_reckonings(&self) -> Option<Vec<(BootId, Reckoning)>> {
        let all = self.reckonings.borrow();
        let all = all.iter().map(|(boot, reckoning)| (*boot, *reckoning));
        self.reckoned.get().then(|| all.collect())
    }

    /// When a sample was taken, by an anchor near it.
    pub(crate) fn time_of(&self, index: SampleIndex, anchor: &TimeAnchor) -> Dated {
        let dated = self.wall(&anchor.at);
        let rate = self.acquisition().rate;
        let micros = |index| i64::try_from(rate.micros_at(index)).unwrap_or(i64::MAX);
        let offset = micros(index).saturating_sub(micros(anchor.index));
        Dated {
            at: UtcMicros(dated.at.0.saturating_add(offset)),
            error_us: dated
                .error_us
                .map(|error| error.saturating_add(anchor.uncertainty_us)),
            bounds: dated.bounds.moved(offset),
        }
    }

    /// A stretch from one sample to another, by an anchor near it, and how its start is dated.
    pub(crate) fn effective(
        &self,
        first: SampleIndex,
        last: SampleIndex,
        anchor: &TimeAnchor,
    ) -> (Effective, Dated) {
        let (start, end) = (self.time_of(first, anchor), self.time_of(last, anchor));
        let effective = if start.is_vouched_for() {
            Effective::Over {
                start: start.at,
                end: end.at,
            }
        } else {
            Effective::Unvouched {
                start: start.at,
                end: end.at,
            }
        };
        (effective, start)
    }

    /// How the alert engine calls what this is about.
    pub(crate) fn subject(&self) -> String {
        self.acquisition().subject.as_ref().map_or_else(
            || format!("unassigned/{}", self.id()),
            |subject| subject.as_str().to_owned(),
        )
    }
}
