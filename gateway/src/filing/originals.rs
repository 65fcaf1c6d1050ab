//! Files as a recorder or a sensor made them, beside the report of the exam that they became.
//!
//! - Parts are noted as they are filed, in any order; one that comes twice is there once.
//! - A file of which every part is there is proved first: its bytes have the hash that its box
//!   signed with every part. Reading them takes a while, so that is done outside of the
//!   transaction that files. Only then it is a document.
//! - Documents follow the first acquisition of their file, whose patient may change.
//!
//! Deliberately absent: a second copy of the bytes. They are read out of the records.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_fhir::ids;
use cardio_fhir::report::{ChainStretch, ProvenanceFacts, provenance};
use cardio_fhir::time::Effective;
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::record::{OriginalPartV1, Record};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::exam::Exam;
use super::exam_report::{covered, period, put_file};
use super::open::Opened;
use super::rows;
use crate::db::{Connection, DbError, Row, values};
use crate::record;
use crate::upload::Document;

const DAMAGED: DbError = DbError::Damaged { what: "original" };

/// What tells such a file from the records that its box sealed.
const DESCRIPTION: &str = "Fichier d'origine de l'appareil / Original file of the device";

/// Parts that are held in memory at once.
const PARTS_AT_ONCE: u64 = 64;

/// A file of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Original {
    device: BoxId,
    file: [u8; 32],
}

/// A file that is whole, and what it turned out to be.
#[derive(Debug)]
pub(super) struct Proof {
    of: Original,
    /// The first of its acquisitions.
    pub(super) acquisition: AcquisitionId,
    /// SHA-1 of its bytes; `None` when they are not what its box says they are.
    sha1: Option<[u8; 20]>,
}

impl Proof {
    /// The box that sent the file.
    pub(super) const fn device(&self) -> BoxId {
        self.of.device
    }
}

/// Notes a part that is filed.
pub(super) fn note(
    connection: &Connection,
    frame: &Opened,
    part: &OriginalPartV1,
) -> Result<(), DbError> {
    let of = Original {
        device: frame.identity.device,
        file: part.file,
    };
    connection.execute(
        "note an original",
        "INSERT INTO originals (box, file, \"binary\", document, media_type, size, parts,
           received_us, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0) ON CONFLICT DO NOTHING",
        values![
            of.device,
            of.file,
            ids::original_binary(of.device, &of.file),
            ids::original_document(of.device, &of.file),
            part.media_type,
            part.size,
            frame.received
        ],
    )?;
    for (place, acquisition) in part.acquisitions.iter().enumerate() {
        connection.execute(
            "note what an original became",
            "INSERT INTO original_acquisitions (box, file, acquisition, place)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            values![
                of.device,
                of.file,
                *acquisition,
                u64::try_from(place).unwrap_or(u64::MAX)
            ],
        )?;
    }
    let size: Option<u64> = connection.cell(
        "read the size of an original",
        "SELECT size FROM originals WHERE box = ?1 AND file = ?2",
        values![of.device, of.file],
    )?;
    if size != Some(part.size) {
        // One hash has one size: such a part is a record, and of no file.
        tracing::error!(event = "OriginalPartRefused", code = "original.other-size", frame = %frame.identity);
        return Ok(());
    }
    let new = connection.execute(
        "note a part of an original",
        "INSERT INTO original_parts (box, file, begins, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        values![of.device, of.file, part.from, part.head.id.0],
    )?;
    let whole = OriginalPartV1::parts_of(part.size);
    connection
        .execute(
            "count the parts of an original",
            "UPDATE originals SET parts = parts + ?3,
               received_us = CASE WHEN received_us < ?4 THEN ?4 ELSE received_us END,
               state = CASE WHEN state <> 2 AND parts + ?3 = ?5 THEN 1 ELSE state END
             WHERE box = ?1 AND file = ?2",
            values![of.device, of.file, new, frame.received, whole],
        )
        .map(|_| ())
}

/// The next file that is whole, and whose first acquisition is filed; proved.
pub(super) fn next_proof(connection: &Connection) -> Result<Option<Proof>, DbError> {
    let row = connection.row(
        "look for an original that is whole",
        "SELECT o.box, o.file, a.id FROM originals o
         JOIN original_acquisitions l ON l.box = o.box AND l.file = o.file AND l.place = 0
         JOIN acquisitions a ON a.id = l.acquisition AND a.box = o.box
         WHERE o.state = 1 ORDER BY o.box, o.file LIMIT 1",
        values![],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let of = Original {
        device: row.take(0)?,
        file: row.take(1)?,
    };
    Ok(Some(Proof {
        of,
        acquisition: row.take(2)?,
        sha1: proved(connection, of)?,
    }))
}

/// SHA-1 of the bytes of a file, if they have the SHA-256 that their box says.
fn proved(connection: &Connection, of: Original) -> Result<Option<[u8; 20]>, DbError> {
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let mut sha256 = Context::new(&SHA256);
    let read = each_part(connection, of, |part| {
        sha1.update(part);
        sha256.update(part);
    });
    match read {
        Err(DbError::Damaged { .. }) => return Ok(None),
        read => read?,
    }
    let is_it = sha256.finish().as_ref() == of.file;
    let sha1 = sha1.finish().as_ref().first_chunk().copied();
    Ok(sha1.filter(|_| is_it))
}

/// Calls `each` with the bytes of every part, in their order.
fn each_part(
    connection: &Connection,
    of: Original,
    mut each: impl FnMut(&[u8]),
) -> Result<(), DbError> {
    let mut after = -1_i64;
    loop {
        let rows = connection.rows(
            "read the parts of an original",
            "SELECT r.bytes, p.begins FROM original_parts p
             JOIN records r ON r.box = p.box AND r.id = p.record
             WHERE p.box = ?1 AND p.file = ?2 AND p.begins > ?3 ORDER BY p.begins LIMIT ?4",
            values![of.device, of.file, after, PARTS_AT_ONCE],
        )?;
        if rows.is_empty() {
            return Ok(());
        }
        for mut row in rows {
            match Record::decode(&row.take::<Vec<u8>>(0)?) {
                Ok(Record::OriginalPart(one)) => each(&one.part),
                _ => return Err(DAMAGED),
            }
            after = row.take(1)?;
        }
    }
}

/// Files a document that was proved, or sets it aside by the first of its frames.
pub(super) fn settle(
    connection: &Connection,
    exam: &Exam,
    proof: &Proof,
    now: UtcMicros,
) -> Result<(), DbError> {
    let state = match proof.sha1 {
        Some(_) => 2_u64,
        None => 3,
    };
    let of = proof.of;
    connection.execute(
        "note what an original is",
        "UPDATE originals SET state = ?3, sha1 = ?4 WHERE box = ?1 AND file = ?2 AND state = 1",
        values![of.device, of.file, state, proof.sha1],
    )?;
    if proof.sha1.is_some() {
        let (effective, _) = covered(connection, exam)?;
        return put(connection, exam, effective, now);
    }
    let why = "its parts are not the file whose hash they bear";
    rows::put_aside(
        connection,
        &first_frame(connection, of)?,
        "original.other-bytes",
        why,
        now,
    )
}

/// The frame that brought the beginning of a file.
fn first_frame(connection: &Connection, of: Original) -> Result<FrameIdentity, DbError> {
    let row = connection.row(
        "find the frame of a part",
        "SELECT r.lane, r.chain, r.seq FROM original_parts p
         JOIN records r ON r.box = p.box AND r.id = p.record
         WHERE p.box = ?1 AND p.file = ?2 ORDER BY p.begins LIMIT 1",
        values![of.device, of.file],
    )?;
    let mut row = row.ok_or(DAMAGED)?;
    Ok(FrameIdentity {
        device: of.device,
        lane: row.take(0)?,
        chain: row.take(1)?,
        seq: row.take(2)?,
    })
}

/// Writes the documents of an acquisition's files and where they come from.
pub(super) fn put(
    connection: &Connection,
    exam: &Exam,
    effective: Effective,
    now: UtcMicros,
) -> Result<(), DbError> {
    let rows = connection.rows(
        "find the originals of an acquisition",
        "SELECT o.file, o.document, o.\"binary\", o.media_type, o.sha1, o.size, o.received_us
         FROM original_acquisitions l JOIN originals o ON o.box = l.box AND o.file = l.file
         WHERE l.acquisition = ?1 AND l.box = ?2 AND l.place = 0 AND o.state = 2
         ORDER BY o.file",
        values![exam.id(), exam.device],
    )?;
    for row in rows {
        put_one(connection, exam, row, effective, now)?;
    }
    Ok(())
}

fn put_one(
    connection: &Connection,
    exam: &Exam,
    mut row: Row,
    effective: Effective,
    now: UtcMicros,
) -> Result<(), DbError> {
    let of = Original {
        device: exam.device,
        file: row.take(0)?,
    };
    let acquisitions = connection.cells(
        "list what an original became",
        "SELECT acquisition FROM original_acquisitions WHERE box = ?1 AND file = ?2
         ORDER BY place",
        values![of.device, of.file],
    )?;
    let document = Document {
        id: row.take(1)?,
        binary: row.take(2)?,
        description: Some(DESCRIPTION),
        media_type: row.take(3)?,
        sha1: row.take(4)?,
        size: row.take(5)?,
        accepted: row.take(6)?,
        acquisitions,
    };
    put_file(connection, exam, &document, effective, now)?;
    let origin = provenance(&ProvenanceFacts {
        id: ids::original_provenance(of.device, &of.file),
        context: &exam.context,
        targets: &[format!("DocumentReference/{}", document.id)],
        period: period(effective),
        recorded: document.accepted,
        chain: &stretches(connection, of)?,
    });
    record::put(connection, &origin, now).map(|_| ())
}

/// Where in the box's chains the parts of a file stand.
fn stretches(connection: &Connection, of: Original) -> Result<Vec<ChainStretch>, DbError> {
    let act = "find the chains of an original";
    let rows = connection.rows(
        act,
        "SELECT r.lane, r.chain, min(r.seq), max(r.seq), max(r.carried) FROM original_parts p
         JOIN records r ON r.box = p.box AND r.id = p.record
         WHERE p.box = ?1 AND p.file = ?2 GROUP BY r.lane, r.chain ORDER BY r.lane, r.chain",
        values![of.device, of.file],
    )?;
    let mut stretches = Vec::new();
    for mut row in rows {
        let (lane, chain): (Lane, ChainId) = (row.take(0)?, row.take(1)?);
        let (from, to): (u64, u64) = (row.take(2)?, row.take(3)?);
        let head = connection.cell(
            act,
            "SELECT r.fingerprint FROM original_parts p
             JOIN records r ON r.box = p.box AND r.id = p.record
             WHERE p.box = ?1 AND p.file = ?2 AND r.lane = ?3 AND r.chain = ?4 AND r.seq = ?5
             LIMIT 1",
            values![of.device, of.file, lane, chain, to],
        )?;
        stretches.push(ChainStretch {
            position: format!("{}/{}/{chain}/{from}-{to}", of.device, lane.number()),
            head: head.ok_or(DAMAGED)?,
            carried: row.take(4)?,
        });
    }
    Ok(stretches)
}

/// The media type and the bytes of a document that a box sent as it was.
pub(crate) fn bytes_of(
    connection: &Connection,
    binary: &str,
) -> Result<Option<(String, Vec<u8>)>, DbError> {
    let row = connection.row(
        "find an original",
        "SELECT box, file, media_type, size FROM originals WHERE \"binary\" = ?1 AND state = 2",
        values![binary],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let of = Original {
        device: row.take(0)?,
        file: row.take(1)?,
    };
    let size: u64 = row.take(3)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    each_part(connection, of, |part| bytes.extend_from_slice(part))?;
    Ok(Some((row.take(2)?, bytes)))
}
