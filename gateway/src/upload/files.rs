//! The rows of uploaded files.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::subject::SubjectRef;
use cardio_wire::intake::ChainKey;
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};

use super::plan::{File, Plan};
use crate::db::{Connection, DbError, Row, values};

/// Stands where the records of boxes name their box.
pub(crate) const DESK: BoxId = BoxId(*b"cardio-gw upload");

/// Files wait as recordings without a person do.
const LANE: Lane = Lane::Bulk;

const DAMAGED: DbError = DbError::Damaged { what: "file" };

/// The place of a file's record: a chain of its own.
pub(super) fn identity(hash: &[u8; 32], number: u64) -> FrameIdentity {
    let chain = hash.first_chunk().copied();
    FrameIdentity {
        device: DESK,
        lane: LANE,
        chain: ChainId(chain.expect("invariant: SHA-256 has 32 bytes")),
        seq: number,
    }
}

/// A file as its document shows it.
pub(crate) struct Document {
    /// Logical id of the DocumentReference.
    pub(crate) id: String,
    /// Logical id of the Binary.
    pub(crate) binary: String,
    /// What tells it from the other documents of the exam, where there are others.
    pub(crate) description: Option<&'static str>,
    /// Its media type.
    pub(crate) media_type: String,
    /// SHA-1 of its bytes.
    pub(crate) sha1: [u8; 20],
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it came.
    pub(crate) accepted: UtcMicros,
    /// What it became, in its own order.
    pub(crate) acquisitions: Vec<AcquisitionId>,
}

/// A file of which not every record is filed.
pub(super) struct Unfinished {
    pub(super) hash: [u8; 32],
    pub(super) media_type: String,
    pub(super) subject: SubjectRef,
    pub(super) accepted: UtcMicros,
    pub(super) start: UtcMicros,
    pub(super) records: u64,
}

/// What is stored of a file that came before.
pub(super) struct Known {
    pub(super) binary: String,
    pub(super) document: String,
    pub(super) subject: String,
}

/// The file of that content.
pub(super) fn known(connection: &Connection, hash: &[u8; 32]) -> Result<Option<Known>, DbError> {
    let row = connection.row(
        "look for a file",
        "SELECT \"binary\", document, subject FROM files WHERE hash = ?1",
        values![hash],
    )?;
    row.map(|mut row| {
        Ok(Known {
            binary: row.take(0)?,
            document: row.take(1)?,
            subject: row.take(2)?,
        })
    })
    .transpose()
}

/// What a new file is stored with.
pub(super) struct NewFile<'a> {
    pub(super) file: &'a File,
    pub(super) known: &'a Known,
    pub(super) sha1: [u8; 20],
    pub(super) accepted: UtcMicros,
    pub(super) plan: &'a Plan,
}

/// Stores a file and what it becomes.
pub(super) fn insert(connection: &Connection, new: &NewFile<'_>) -> Result<(), DbError> {
    let size = u64::try_from(new.file.bytes.len()).unwrap_or(u64::MAX);
    connection.execute(
        "store a file",
        "INSERT INTO files (hash, \"binary\", document, media_type, sha1, size, subject,
           accepted_us, start_us, records, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        values![
            new.file.hash,
            new.known.binary.as_str(),
            new.known.document.as_str(),
            new.file.media_type(),
            new.sha1,
            size,
            new.known.subject.as_str(),
            new.accepted,
            new.plan.start,
            new.plan.records(),
            &*new.file.bytes
        ],
    )?;
    for (place, acquisition) in new.plan.acquisitions().enumerate() {
        connection.execute(
            "note what a file becomes",
            "INSERT INTO file_acquisitions (acquisition, file, place) VALUES (?1, ?2, ?3)",
            values![
                acquisition.id,
                new.file.hash,
                u64::try_from(place).unwrap_or(u64::MAX)
            ],
        )?;
    }
    Ok(())
}

/// The files of which records are left to file, oldest first.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<Unfinished>, DbError> {
    let rows = connection.rows(
        "look for files that are not filed whole",
        "SELECT f.hash, f.media_type, f.subject, f.accepted_us, f.start_us, f.records
         FROM files f LEFT JOIN cursors c
           ON c.box = ?1 AND c.lane = ?2 AND c.chain = substr(f.hash, 1, 8)
         WHERE coalesce(c.filed, 0) < f.records ORDER BY f.accepted_us, f.hash",
        values![DESK, LANE],
    )?;
    rows.into_iter().map(read_unfinished).collect()
}

fn read_unfinished(mut row: Row) -> Result<Unfinished, DbError> {
    Ok(Unfinished {
        hash: row.take(0)?,
        media_type: row.take(1)?,
        subject: SubjectRef::new(&row.take::<String>(2)?).map_err(|_| DAMAGED)?,
        accepted: row.take(3)?,
        start: row.take(4)?,
        records: row.take(5)?,
    })
}

/// How many records of a file are filed.
pub(super) fn filed(connection: &Connection, hash: &[u8; 32]) -> Result<u64, DbError> {
    crate::filing::cursor(connection, ChainKey::of(&identity(hash, 0)))
}

/// The bytes of a file.
pub(super) fn bytes(connection: &Connection, hash: &[u8; 32]) -> Result<Vec<u8>, DbError> {
    let bytes = connection.cell(
        "read a file",
        "SELECT bytes FROM files WHERE hash = ?1",
        values![hash],
    )?;
    bytes.ok_or(DAMAGED)
}

/// The file that an acquisition came in.
pub(crate) fn document(
    connection: &Connection,
    acquisition: AcquisitionId,
) -> Result<Option<Document>, DbError> {
    let row = connection.row(
        "read the file of an acquisition",
        "SELECT f.document, f.\"binary\", f.media_type, f.sha1, f.hash, f.size, f.accepted_us
         FROM files f JOIN file_acquisitions a ON a.file = f.hash WHERE a.acquisition = ?1",
        values![acquisition],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let hash: [u8; 32] = row.take(4)?;
    let acquisitions = connection.cells(
        "list what a file became",
        "SELECT acquisition FROM file_acquisitions WHERE file = ?1 ORDER BY place",
        values![hash],
    )?;
    Ok(Some(Document {
        id: row.take(0)?,
        binary: row.take(1)?,
        description: None,
        media_type: row.take(2)?,
        sha1: row.take(3)?,
        size: row.take(5)?,
        accepted: row.take(6)?,
        acquisitions,
    }))
}
