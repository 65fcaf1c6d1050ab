//! What heart-rate sensors told, and how sensors are, as resources.
//!
//! Intervals are filed slot by slot, as waveforms are ([`super::spans`]), by when they were told.
//! One that was told without contact stays in the original and is not filed as a measurement.
//! Deliberately absent: the heart rate, which is filed with the windows that were assessed.

use cardio_core::clock::{TimeAnchor, UtcMicros};
use cardio_core::heart_rate::{SkinContact, ToldRate};
use cardio_core::index::SampleIndex;
use cardio_fhir::ids;
use cardio_fhir::told::{BatteryFacts, IntervalFacts, battery_observation, interval_observation};
use cardio_wire::record::{HeartRatesV1, Record};

use super::exam::Exam;
use super::resources::{put_result, with_error};
use super::spans::{reaching_into, slot_start};
use crate::clock::boots::Dated;
use crate::db::{Connection, DbError, values};
use crate::record;

/// Writes the intervals that were told within a slot, once nothing more can come to it.
pub(super) fn put_intervals(
    connection: &Connection,
    exam: &Exam,
    slot: u64,
    now: UtcMicros,
) -> Result<(), DbError> {
    let rate = exam.acquisition().rate;
    let from = slot_start(rate, slot);
    let to = slot_start(rate, slot.saturating_add(1));
    if exam.extents.reached() < to && exam.ended.is_none() {
        return Ok(());
    }
    let stretches = stretches(connection, exam, (from, to))?;
    let mut told = Vec::new();
    for stretch in &stretches {
        let stretch = &stretch.stretch;
        for (at, rate) in &stretch.told {
            let at = stretch.first.after(*at);
            if at.0 > from && at.0 <= to {
                told.push((at, stretch.anchor, rate));
            }
        }
    }
    let rr = intervals(&told);
    let (Some((first, anchor, _)), Some((last, ..))) = (told.first(), told.last()) else {
        return Ok(());
    };
    if rr.is_empty() {
        return Ok(());
    }
    let (effective, dated) = exam.effective(*first, *last, anchor);
    let observation = interval_observation(&IntervalFacts {
        id: ids::intervals(exam.id(), SampleIndex(from)),
        context: &exam.context,
        effective,
        rr: &rr,
    });
    put_result(connection, exam, *first, Some(&dated), observation, now)
}

fn intervals(told: &[(SampleIndex, TimeAnchor, &ToldRate)]) -> Vec<u16> {
    let rates = told.iter().map(|(_, _, rate)| *rate);
    rates
        .filter(|rate| rate.contact != SkinContact::Off)
        .flat_map(|rate| rate.rr.iter().copied())
        .collect()
}

/// The stretches that reach into a span, in order. One that came twice is there once.
fn stretches(
    connection: &Connection,
    exam: &Exam,
    span: (u64, u64),
) -> Result<Vec<HeartRatesV1>, DbError> {
    let mut stretches: Vec<HeartRatesV1> = Vec::new();
    for bytes in reaching_into(connection, exam, "heart-rates", span)? {
        let Ok(Record::HeartRates(one)) = Record::decode(&bytes) else {
            return Err(DbError::Damaged {
                what: "heart rates",
            });
        };
        let reached = stretches
            .last()
            .map_or(SampleIndex(0), |last| last.stretch.end());
        if one.stretch.first >= reached {
            stretches.push(one);
        }
    }
    Ok(stretches)
}

/// Writes how the sensor of an acquisition was, each time that it said so.
pub(super) fn put_statuses(
    connection: &Connection,
    exam: &Exam,
    now: UtcMicros,
) -> Result<(), DbError> {
    let rows: Vec<Vec<u8>> = connection.cells(
        "read how a sensor was",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'device-status' AND box = ?2
         ORDER BY seq",
        values![exam.id(), exam.device],
    )?;
    for bytes in rows {
        let Ok(Record::DeviceStatus(status)) = Record::decode(&bytes) else {
            return Err(DbError::Damaged {
                what: "device status",
            });
        };
        let dated = exam.wall(&status.head.at);
        let observation = battery_observation(&BatteryFacts {
            id: ids::battery(status.head.id),
            record: status.head.id,
            context: &exam.context,
            at: Some(dated.at).filter(|_| Dated::is_vouched_for(&dated)),
            percent: status.battery_percent,
        });
        record::put(connection, &with_error(observation, Some(&dated)), now)?;
    }
    Ok(())
}
