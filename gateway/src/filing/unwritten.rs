//! What was filed and is still to become resources.
//!
//! Filing a record means that it is in the record for good and that the rules have seen it. Its
//! resources are written after that, in transactions of their own, oldest first: what calls a
//! person never waits for them, and places that several records touch are written once. Notes of
//! these places are kept in the transaction that files and taken off in the one that writes, so
//! a stop in between loses nothing and repeats nothing.
//!
//! Deliberately absent: the resources themselves ([`super::resources`]), and reports that are
//! written anew when nothing else is to be done ([`super::exam_report`]).

use std::collections::BTreeSet;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};

use super::Filer;
use super::exam::{self, Touched};
use super::{resources, transaction};
use crate::db::{Connection, DbError, values};
use crate::inbox::{BoxLore, lore_within};

/// Acquisitions written in one transaction.
const TOGETHER: usize = 8;
/// Notes of one acquisition that are taken off at once.
const NOTES_MAX: u64 = 256;

/// What a note is about. The numbers are stored, and are the order in which notes are taken.
#[derive(Clone, Copy)]
enum What {
    All,
    Status,
    Around,
    Before,
    Gap,
    Window,
    Ended,
}

impl What {
    const EACH: [Self; 7] = [
        Self::All,
        Self::Status,
        Self::Around,
        Self::Before,
        Self::Gap,
        Self::Window,
        Self::Ended,
    ];

    const fn number(self) -> i64 {
        match self {
            Self::All => 1,
            Self::Status => 2,
            Self::Around => 3,
            Self::Before => 4,
            Self::Gap => 5,
            Self::Window => 6,
            Self::Ended => 7,
        }
    }
}

/// Notes what new records of an acquisition touch.
pub(super) fn note(
    connection: &Connection,
    acquisition: AcquisitionId,
    touched: &Touched,
    now: UtcMicros,
) -> Result<(), DbError> {
    for what in What::EACH {
        for place in places(touched, what) {
            connection.execute(
                "note what is to be written",
                "INSERT INTO unwritten (acquisition, what, place, noted_us)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                values![acquisition, what.number(), place, now],
            )?;
        }
    }
    Ok(())
}

fn places(touched: &Touched, what: What) -> Vec<u64> {
    let flag = |is_set: bool| is_set.then_some(0).into_iter().collect();
    let each = |places: &BTreeSet<u64>| places.iter().copied().collect();
    match what {
        What::All => flag(touched.all),
        What::Status => flag(touched.status),
        What::Around => each(&touched.around),
        What::Before => each(&touched.before),
        What::Gap => each(&touched.gaps),
        What::Window => each(&touched.windows),
        What::Ended => flag(touched.ended),
    }
}

fn add(touched: &mut Touched, what: i64, place: u64) -> Result<(), DbError> {
    let known = What::EACH.into_iter().find(|one| one.number() == what);
    let what = known.ok_or(DbError::Damaged { what: "note" })?;
    match what {
        What::All => touched.all = true,
        What::Status => touched.status = true,
        What::Ended => touched.ended = true,
        What::Around => touched.around.extend([place]),
        What::Before => touched.before.extend([place]),
        What::Gap => touched.gaps.extend([place]),
        What::Window => touched.windows.extend([place]),
    }
    Ok(())
}

/// The acquisitions with the oldest notes, and their boxes as far as their starts are filed.
fn oldest(connection: &Connection) -> Result<Vec<(AcquisitionId, Option<BoxId>)>, DbError> {
    let rows = connection.rows(
        "look for what is to be written",
        "SELECT u.acquisition, a.box
         FROM (SELECT acquisition, noted_us FROM unwritten ORDER BY noted_us, acquisition
               LIMIT 64) u
         LEFT JOIN acquisitions a ON a.id = u.acquisition ORDER BY u.noted_us, u.acquisition",
        values![],
    )?;
    let mut found: Vec<(AcquisitionId, Option<BoxId>)> = Vec::new();
    for mut row in rows {
        let one = (row.take(0)?, row.take(1)?);
        if found.len() < TOGETHER && !found.contains(&one) {
            found.push(one);
        }
    }
    Ok(found)
}

/// Takes the notes of an acquisition off.
fn take(connection: &Connection, acquisition: AcquisitionId) -> Result<Touched, DbError> {
    let rows = connection.rows(
        "read what is to be written",
        "SELECT what, place FROM unwritten WHERE acquisition = ?1
         ORDER BY what, place LIMIT ?2",
        values![acquisition, NOTES_MAX],
    )?;
    let mut touched = Touched::default();
    for mut row in rows {
        let (what, place): (i64, u64) = (row.take(0)?, row.take(1)?);
        add(&mut touched, what, place)?;
        connection.execute(
            "note what is written",
            "DELETE FROM unwritten WHERE acquisition = ?1 AND what = ?2 AND place = ?3",
            values![acquisition, what, place],
        )?;
    }
    Ok(touched)
}

/// Writes what was noted of one acquisition. Of one whose start is not filed nothing can be
/// written; when the start comes, everything is.
fn write(
    connection: &Connection,
    acquisition: AcquisitionId,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<bool, DbError> {
    let touched = take(connection, acquisition)?;
    let Some(exam) = exam::load(connection, acquisition, lore)? else {
        return Ok(true);
    };
    let done = resources::refresh(connection, &exam, &touched, now);
    transaction::unless_damaged(connection, &exam, done, now).map(|done| done.is_some())
}

impl Filer {
    /// Writes what was noted of a few acquisitions; answers of how many.
    pub(super) fn write_some(&self) -> Result<u64, DbError> {
        let found = self.readers.read(oldest)?;
        if found.is_empty() {
            return Ok(0);
        }
        let boxes: BTreeSet<BoxId> = found.iter().filter_map(|(_, device)| *device).collect();
        let boxes: Vec<BoxId> = boxes.into_iter().collect();
        let (lore, now) = (self.inbox.lore(&boxes)?, self.clock.read().utc);
        let taken = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let damaged = self.record.write_blocking(move |tx| {
            let lore = lore_within(tx, &boxes, lore)?;
            let mut damaged = 0;
            for (acquisition, _) in found {
                damaged += u64::from(!write(tx, acquisition, &lore, now)?);
            }
            Ok(damaged)
        })?;
        self.counters.records_quarantined.add(damaged);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::{NOTES_MAX, TOGETHER, Touched, note, oldest, take};
    use crate::db::testing::Fresh;
    use crate::record::STEPS;
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::AcquisitionId;

    const ONE: AcquisitionId = AcquisitionId([1; 16]);
    const OTHER: AcquisitionId = AcquisitionId([2; 16]);

    fn some() -> Touched {
        Touched {
            all: true,
            ended: true,
            status: true,
            around: [1, 2].into(),
            before: [3].into(),
            gaps: [4].into(),
            windows: [5, 6].into(),
        }
    }

    #[test]
    fn what_is_noted_twice_is_taken_once_and_whole() {
        Fresh::on(STEPS, |c| {
            note(c, ONE, &some(), UtcMicros(1)).unwrap();
            note(c, ONE, &some(), UtcMicros(2)).unwrap();
            assert_eq!(take(c, OTHER).unwrap(), Touched::default());
            assert_eq!(take(c, ONE).unwrap(), some());
            assert_eq!(take(c, ONE).unwrap(), Touched::default());
            assert!(oldest(c).unwrap().is_empty());
        });
    }

    #[test]
    fn a_long_list_is_taken_in_parts_and_the_end_comes_last() {
        Fresh::on(STEPS, |c| {
            let mut long = Touched {
                ended: true,
                ..Touched::default()
            };
            long.around = (0..NOTES_MAX + 3).collect();
            note(c, ONE, &long, UtcMicros(1)).unwrap();
            let first = take(c, ONE).unwrap();
            assert_eq!(first.around, (0..NOTES_MAX).collect());
            assert!(!first.ended);
            let second = take(c, ONE).unwrap();
            assert_eq!(second.around, (NOTES_MAX..NOTES_MAX + 3).collect());
            assert!(second.ended);
        });
    }

    #[test]
    fn the_acquisition_that_waits_longest_is_next_and_a_few_are_written_together() {
        Fresh::on(STEPS, |c| {
            let all = Touched::everything();
            for number in 0..20_u8 {
                let at = UtcMicros(100 - i64::from(number));
                note(c, AcquisitionId([number; 16]), &all, at).unwrap();
            }
            // What comes later does not put it back in the queue.
            note(c, AcquisitionId([19; 16]), &all, UtcMicros(500)).unwrap();
            let found = oldest(c).unwrap();
            assert_eq!(found.len(), TOGETHER);
            assert_eq!(found[0], (AcquisitionId([19; 16]), None));
            assert_eq!(found[1], (AcquisitionId([18; 16]), None));
        });
    }
}
