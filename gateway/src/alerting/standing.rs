//! What a box tells of itself and its sensors, shown to the technical rules: silent sensors,
//! batteries, the room in its outbox, its clock.
//!
//! Deliberately absent: silence of the box itself and of deliveries, which only the gateway
//! sees ([`super::judge`]).

use cardio_alert::{Engine, Quantity, Reading};
use cardio_core::acquisition::Attendance;
use cardio_core::clock::{ClockReading, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::record::{BoxStatusV1, SourceStatusV1};

use super::judge::take;
use super::rows::Concern;
use crate::clock::boots::Dated;
use crate::db::{Connection, DbError};
use crate::filing::said_at_start;

/// A word that is older than this when it is filed calls nobody: how the box is now comes with
/// the next one.
const NEWS_US: i64 = 900_000_000;

/// A box's word of itself, and when it was said.
pub(crate) struct Told<'a> {
    /// Who said it.
    pub(crate) device: BoxId,
    /// What it said.
    pub(crate) status: &'a BoxStatusV1,
    /// When, by this gateway's clock.
    pub(crate) dated: Dated,
}

/// Shows the engine a box's word of itself; answers how many alerts it raised.
pub(crate) fn tell(
    connection: &Connection,
    told: &Told<'_>,
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let at = told.dated.at;
    if !told.dated.is_vouched_for() || now.0.saturating_sub(at.0) > NEWS_US {
        return Ok(0);
    }
    let mut raised = 0;
    for (concern, reading) in readings(connection, told)? {
        for event in engine.reading(&reading, now) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    Ok(raised)
}

fn readings(connection: &Connection, told: &Told<'_>) -> Result<Vec<(Concern, Reading)>, DbError> {
    let of_box = |quantity, value| {
        let reading = Reading {
            about: told.device.to_string(),
            quantity,
            at: told.dated.at,
            value,
            attendance: Attendance::Unattended,
        };
        (Concern::of_box(told.device), reading)
    };
    let status = told.status;
    let mut readings = Vec::new();
    readings.extend(
        status
            .autonomy_s
            .map(|s| of_box(Quantity::Autonomy, hours(s))),
    );
    let charge = status.battery_percent.map(f64::from);
    readings.extend(charge.map(|charge| of_box(Quantity::Battery, charge)));
    readings.push(of_box(
        Quantity::ClockError,
        clock_error_s(&status.head.at, &told.dated),
    ));
    for source in &status.sources {
        readings.extend(of_source(connection, told, source)?);
    }
    Ok(readings)
}

/// What is said of a sensor. One that records nothing is expected to send nothing.
fn of_source(
    connection: &Connection,
    told: &Told<'_>,
    source: &SourceStatusV1,
) -> Result<Vec<(Concern, Reading)>, DbError> {
    let started = match source.acquisition {
        Some(acquisition) => said_at_start(connection, acquisition)?,
        None => None,
    };
    let started = started.filter(|(_, device)| *device == told.device);
    let mut concern = Concern::of_box(told.device);
    let mut attendance = Attendance::Attended;
    if let Some((acquisition, _)) = started {
        concern.patient = acquisition.subject;
        attendance = acquisition.attendance;
    }
    let reading = |quantity, value, attendance| Reading {
        about: format!("{}/{}", told.device, source.source.as_str()),
        quantity,
        at: told.dated.at,
        value,
        attendance,
    };
    let silent = source.silent_s.filter(|_| source.acquisition.is_some());
    let silent = silent.map(|s| reading(Quantity::SourceSilence, seconds(s), attendance));
    let charge = source.battery_percent.map(f64::from);
    // A sensor's battery, whether or not anybody attends: the box's own has the other limit.
    let charge = charge.map(|charge| reading(Quantity::Battery, charge, Attendance::Attended));
    let all = silent.into_iter().chain(charge);
    Ok(all.map(|reading| (concern.clone(), reading)).collect())
}

/// By how much the box's wall clock is certainly wrong.
fn clock_error_s(said: &ClockReading, dated: &Dated) -> f64 {
    let apart = said.utc.0.saturating_sub(dated.at.0).unsigned_abs();
    let certain = apart.saturating_sub(dated.error_us.unwrap_or(u64::MAX));
    std::time::Duration::from_micros(certain).as_secs_f64()
}

fn seconds(whole: u64) -> f64 {
    std::time::Duration::from_secs(whole).as_secs_f64()
}

fn hours(whole: u64) -> f64 {
    seconds(whole) / 3_600.0
}
