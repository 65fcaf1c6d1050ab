//! How far the records of an acquisition reach, kept beside them: what covers a sample is found
//! without looking at everything before it.

use std::collections::BTreeMap;

use cardio_core::ids::{AcquisitionId, BoxId};

use crate::db::{Connection, DbError, values};

/// The extents of an acquisition, by the kind of its records.
#[derive(Debug, Default)]
pub(crate) struct Extents(BTreeMap<String, Extent>);

#[derive(Clone, Copy, Debug)]
struct Extent {
    longest: u64,
    reached: u64,
}

impl Extents {
    /// The earliest first sample of a record of this kind that goes beyond `sample`.
    pub(crate) fn earliest_beyond(&self, kind: &str, sample: u64) -> u64 {
        let longest = self.0.get(kind).map_or(0, |extent| extent.longest);
        sample.saturating_sub(longest)
    }

    /// The instant up to which segments, rates and gaps are filed.
    pub(crate) fn reached(&self) -> u64 {
        let kinds = ["segment", "heart-rates", "gap"].into_iter();
        let extents = kinds.filter_map(|kind| self.0.get(kind));
        extents.map(|extent| extent.reached).max().unwrap_or(0)
    }
}

/// Notes where a record lies: its first sample and its length.
pub(super) fn note(
    connection: &Connection,
    acquisition: AcquisitionId,
    device: BoxId,
    kind: &str,
    (first, len): (u64, u64),
) -> Result<(), DbError> {
    connection
        .execute(
            "note how far an acquisition is filed",
            "INSERT INTO extents (acquisition, box, kind, longest, reached)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (acquisition, box, kind) DO UPDATE SET
               longest = CASE WHEN extents.longest < excluded.longest
                         THEN excluded.longest ELSE extents.longest END,
               reached = CASE WHEN extents.reached < excluded.reached
                         THEN excluded.reached ELSE extents.reached END",
            values![acquisition, device, kind, len, first.saturating_add(len)],
        )
        .map(|_| ())
}

/// Reads the extents of an acquisition.
pub(super) fn of(
    connection: &Connection,
    acquisition: AcquisitionId,
    device: BoxId,
) -> Result<Extents, DbError> {
    let rows = connection.rows(
        "read how far an acquisition is filed",
        "SELECT kind, longest, reached FROM extents WHERE acquisition = ?1 AND box = ?2",
        values![acquisition, device],
    )?;
    let extents = rows.into_iter().map(|mut row| {
        let (longest, reached) = (row.take(1)?, row.take(2)?);
        Ok((row.take(0)?, Extent { longest, reached }))
    });
    extents.collect::<Result<_, DbError>>().map(Extents)
}

#[cfg(test)]
mod tests {
    use super::{AcquisitionId, BoxId, note, of};
    use crate::db::testing::Fresh;
    use crate::db::{DbError, Readers, Schema, Writer, values};
    use crate::record::STEPS;

    const ID: AcquisitionId = AcquisitionId([7; 16]);
    const DEVICE: BoxId = BoxId([4; 16]);

    /// The schema before extents were kept.
    const BEFORE: usize = 5;

    #[test]
    fn what_covers_a_sample_begins_no_further_before_it_than_the_longest_is_long() {
        Fresh::on(STEPS, |connection| {
            for (kind, place) in [
                ("segment", (0, 250)),
                ("segment", (250, 40)),
                ("gap", (290, 110)),
                ("assessment", (0, 2_500)),
            ] {
                note(connection, ID, DEVICE, kind, place).unwrap();
            }
            let extents = of(connection, ID, DEVICE).unwrap();
            assert_eq!(extents.reached(), 400);
            assert_eq!(extents.earliest_beyond("segment", 1_000), 750);
            assert_eq!(extents.earliest_beyond("segment", 100), 0);
            assert_eq!(extents.earliest_beyond("assessment", 3_000), 500);
            let nothing = of(connection, AcquisitionId([8; 16]), DEVICE).unwrap();
            assert_eq!(nothing.reached(), 0);
        });
    }

    #[test]
    fn a_record_of_an_older_program_gets_its_extents() {
        let fresh = Fresh::new();
        let open = |steps| {
            let place = fresh.place();
            let part = "record";
            Writer::start(Schema { place, part, steps }, 8).unwrap()
        };
        let older = open(&STEPS[..BEFORE]);
        for (n, kind, first, len) in [
            (1_u8, "segment", 0_u64, 250_u64),
            (2, "segment", 250, 40),
            (3, "gap", 290, 5),
        ] {
            let insert = older.write_blocking(move |tx| -> Result<(), DbError> {
                tx.execute(
                    "insert",
                    "INSERT INTO records (id, kind, acquisition, first, len, box, lane, chain,
                       seq, fingerprint, received_us, bytes)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?1, 1, ?1, 1, ?1)",
                    values![[n; 16].to_vec(), kind, ID, first, len, DEVICE],
                )
                .map(|_| ())
            });
            insert.unwrap();
        }
        drop(older);
        let _newer = open(STEPS);
        let extents = Readers::of(&fresh.place())
            .read(|connection| of(connection, ID, DEVICE))
            .unwrap();
        assert_eq!(extents.reached(), 295);
        assert_eq!(extents.earliest_beyond("segment", 400), 150);
    }
}
