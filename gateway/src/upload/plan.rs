//! What a file becomes: its acquisitions, and their records one after another.
//!
//! The same bytes give the same records under the same names, so that filing can go on where
//! it ended, and a file that comes twice changes nothing. Deliberately absent: databases.

use std::path::Path;
use std::sync::Arc;

use cardio_core::acquisition::{Acquisition, Attendance};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::segment::Segment;
use cardio_core::subject::SubjectRef;
use cardio_formats::parts::{Part, PartError, PartSamples, Piece, Told, anchor, lasts_us, parts};
use cardio_formats::sniff::OCTETS;
use cardio_formats::source::MemorySource;
use cardio_formats::survey::{Survey, survey};
use cardio_formats::{FormatId, ReadOptions, RecordingReader, read, sniff};
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, EndReason, GapV1, Record, RecordHead, SegmentV1,
    record_id,
};
use ring::digest::{Context, SHA256};

/// What an uploaded file is called within the program: its own name may name a patient. Only
/// comma-separated values are known by their name.
const NAME: &str = "upload";
const NAME_OF_CSV: &str = "upload.csv";
const CSV: &str = "text/csv";
/// What the source of its acquisitions is called.
const SOURCE: &str = "upload";
/// A recording that lasts longer was made without anybody watching.
const WATCHED_MAX_US: u64 = 600_000_000;

/// A file in memory, by its hash.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) hash: [u8; 32],
    pub(super) bytes: Arc<[u8]>,
    name: &'static str,
}

impl File {
    /// Bytes that came as that media type.
    pub(super) fn new(bytes: impl Into<Arc<[u8]>>, media_type: &str) -> Self {
        let bytes = bytes.into();
        let name = match media_type.trim_start().starts_with(CSV) {
            true => NAME_OF_CSV,
            false => NAME,
        };
        Self {
            hash: sha256(&[&bytes]),
            bytes,
            name,
        }
    }

    fn reader(&self) -> Result<Box<dyn RecordingReader>, PartError> {
        let source = Arc::new(MemorySource::new().with(self.name, Arc::clone(&self.bytes)));
        read::open(source, self.name, ReadOptions::default()).map_err(PartError::Format)
    }

    fn survey(&self) -> Result<Survey, PartError> {
        survey(self.reader()?, &mut |_| {}).map_err(PartError::Format)
    }

    /// Media type of its format; the general one where none is registered.
    pub(super) fn media_type(&self) -> &'static str {
        let format = sniff(&self.bytes, Path::new(self.name));
        format.map_or(OCTETS, FormatId::media_type)
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// The acquisitions of a file.
#[derive(Debug)]
pub(super) struct Plan {
    /// When the recording began.
    pub(super) start: UtcMicros,
    /// What was wrong with the file although it could be read.
    pub(super) warnings: Vec<String>,
    parts: Vec<(Part, Acquisition)>,
}

/// Surveys a file. The recording began at `start`, or as the file states, or so that it ended
/// at `accepted`.
pub(super) fn plan(
    file: &File,
    subject: &SubjectRef,
    accepted: UtcMicros,
    start: Option<UtcMicros>,
) -> Result<Plan, PartError> {
    let found = file.survey()?;
    let lasts = lasts_us(&found);
    let attendance = match lasts > WATCHED_MAX_US {
        true => Attendance::Unattended,
        false => Attendance::Attended,
    };
    let told = Told {
        subject: Some(subject.clone()),
        request: None,
        source: SourceId::new(SOURCE).expect("invariant: the name is a source's"),
        attendance,
    };
    let of = |(place, part): (usize, Part)| {
        let id = acquisition_id(&file.hash, place);
        let acquisition = part.acquisition(id, &told, &found.recording);
        (part, acquisition)
    };
    let start = start.or_else(|| stated(&found)).unwrap_or_else(|| {
        let lasts = i64::try_from(lasts).unwrap_or(i64::MAX);
        UtcMicros(accepted.0.saturating_sub(lasts))
    });
    Ok(Plan {
        start,
        parts: parts(&found)?.into_iter().enumerate().map(of).collect(),
        warnings: found.recording.warnings,
    })
}

/// The start that a file states, in the zone of this gateway where it states none.
fn stated(survey: &Survey) -> Option<UtcMicros> {
    let start = survey.recording.start.as_ref()?;
    let local: jiff::civil::DateTime = start.local.parse().ok()?;
    let zone = match start.utc_offset_minutes {
        Some(minutes) => {
            let seconds = minutes.checked_mul(60)?;
            jiff::tz::Offset::from_seconds(seconds).ok()?.to_time_zone()
        }
        None => jiff::tz::TimeZone::system(),
    };
    let at = local.to_zoned(zone).ok()?;
    Some(UtcMicros(at.timestamp().as_microsecond()))
}

/// A UUID of version 8 (RFC 9562, 5.8) that follows from the content.
fn acquisition_id(hash: &[u8; 32], place: usize) -> AcquisitionId {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    let digest = sha256(&[
        b"acquisition of an uploaded file",
        hash,
        &place.to_be_bytes(),
    ]);
    let mut id: [u8; 16] = digest
        .first_chunk()
        .copied()
        .expect("invariant: SHA-256 has 32 bytes");
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = 0x80 | (*version & 0x0F);
    *variant = 0x80 | (*variant & 0x3F);
    AcquisitionId(id)
}

impl Plan {
    /// The acquisitions, in the order of the file.
    pub(super) fn acquisitions(&self) -> impl Iterator<Item = &Acquisition> {
        self.parts.iter().map(|(_, acquisition)| acquisition)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        let of = |(part, _): &(Part, Acquisition)| part.pieces().len().saturating_add(2);
        u64::try_from(self.parts.iter().map(of).sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Calls `each` with every record after the first `done` and its number, counted from 1,
    /// until it answers false. All starts come first.
    pub(super) fn records_after(
        &self,
        file: &File,
        done: u64,
        each: &mut dyn FnMut(u64, Record) -> bool,
    ) -> Result<(), PartError> {
        let mut at = Ordinals {
            file,
            start: self.start,
            done,
            number: 0,
        };
        for (_, acquisition) in &self.parts {
            let started = at.head(acquisition, SampleIndex(0)).map(|head| {
                let acquisition = acquisition.clone();
                Record::AcquisitionStarted(AcquisitionStartedV1 { head, acquisition })
            });
            if started.is_some_and(|record| !each(at.number, record)) {
                return Ok(());
            }
        }
        for (part, acquisition) in &self.parts {
            if !of_part(part, acquisition, &mut at, each)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Which record comes next, and what it is called.
struct Ordinals<'a> {
    file: &'a File,
    start: UtcMicros,
    done: u64,
    number: u64,
}

impl Ordinals<'_> {
    /// Counts one more record; its head, unless it is filed already.
    fn head(&mut self, acquisition: &Acquisition, at: SampleIndex) -> Option<RecordHead> {
        self.number = self.number.saturating_add(1);
        if self.number <= self.done {
            return None;
        }
        let at = anchor(acquisition, self.start, at).at;
        let digest = sha256(&[b"record", &self.file.hash, &self.number.to_be_bytes()]);
        let random = digest.first_chunk().copied().unwrap_or_default();
        let id = record_id(at.utc, random);
        Some(RecordHead { id, at })
    }
}

/// The records of one part but its start; false when `each` wants no more.
fn of_part(
    part: &Part,
    acquisition: &Acquisition,
    at: &mut Ordinals<'_>,
    each: &mut dyn FnMut(u64, Record) -> bool,
) -> Result<bool, PartError> {
    let id = acquisition.id;
    let mut samples = PartSamples::new(part, at.file.reader()?);
    let (mut segments, mut gaps) = (0_u64, 0_u64);
    let (mut stored, mut missing) = (SampleCount(0), SampleCount(0));
    for piece in part.pieces() {
        let record = match piece {
            Piece::Gap(gap) => {
                gaps = gaps.saturating_add(1);
                missing.0 = missing.0.saturating_add(gap.len.0);
                let near = Some(anchor(acquisition, at.start, gap.end()));
                at.head(acquisition, gap.from).map(|head| {
                    Record::Gap(GapV1 {
                        head,
                        acquisition: id,
                        gap,
                        near,
                    })
                })
            }
            Piece::Samples { first, len } => {
                let block = samples.next(first, len)?;
                let segment = Segment {
                    acquisition: id,
                    ordinal: segments,
                    anchor: anchor(acquisition, at.start, first),
                    block,
                };
                segments = segments.saturating_add(1);
                stored.0 = stored.0.saturating_add(len.0);
                at.head(acquisition, first)
                    .map(|head| Record::Segment(SegmentV1 { head, segment }))
            }
        };
        if record.is_some_and(|record| !each(at.number, record)) {
            return Ok(false);
        }
    }
    let ended = at.head(acquisition, part.end()).map(|head| {
        Record::AcquisitionEnded(AcquisitionEndedV1 {
            head,
            acquisition: id,
            end: part.end(),
            segments,
            samples: stored,
            gaps,
            missing,
            repeated_frames: 0,
            reason: EndReason::Completed,
        })
    });
    Ok(ended.is_none_or(|record| each(at.number, record)))
}

#[cfg(test)]
mod tests {
    use super::{File, Plan, UtcMicros, plan};
    use cardio_core::acquisition::Attendance;
    use cardio_core::subject::SubjectRef;
    use cardio_formats::parts::PartError;
    use cardio_wire::record::Record;

    const ACCEPTED: UtcMicros = UtcMicros(1_700_000_000_000_000);

    fn file() -> File {
        let rows: String = (0..2_600).map(|at| format!("{at},{},\n", at % 7)).collect();
        let text = format!("# rate_hz: 250\nI,II,III\n{rows}1,2,3\n");
        File::new(text.into_bytes(), "text/csv; charset=utf-8")
    }

    fn planned(file: &File) -> Plan {
        let subject = SubjectRef::new("p-test-1").unwrap();
        plan(file, &subject, ACCEPTED, None).unwrap()
    }

    fn all(file: &File, done: u64) -> Vec<(u64, Record)> {
        let mut records = Vec::new();
        let mut each = |number, record| {
            records.push((number, record));
            true
        };
        planned(file).records_after(file, done, &mut each).unwrap();
        records
    }

    #[test]
    fn filing_goes_on_with_the_very_records_that_are_left() {
        let file = file();
        let records = all(&file, 0);
        assert_eq!(
            u64::try_from(records.len()).unwrap(),
            planned(&file).records()
        );
        let numbers: Vec<u64> = records.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=planned(&file).records()).collect::<Vec<_>>());
        for done in [1, 2, 5] {
            let left = all(&file, done);
            assert_eq!(left, records[usize::try_from(done).unwrap()..]);
        }
    }

    #[test]
    fn starts_come_first_and_every_part_ends_with_what_it_held() {
        let records = all(&file(), 0);
        assert!(matches!(records[0].1, Record::AcquisitionStarted(_)));
        assert!(matches!(records[1].1, Record::AcquisitionStarted(_)));
        let ends: Vec<_> = records
            .iter()
            .filter_map(|(_, record)| match record {
                Record::AcquisitionEnded(ended) => Some((ended.samples.0, ended.missing.0)),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [(2_601, 0), (1, 2_600)]);
    }

    #[test]
    fn a_recording_that_states_no_start_ended_when_it_came() {
        let plan = planned(&file());
        assert_eq!(plan.start.0, ACCEPTED.0 - 10_404_000);
        let watched = plan
            .acquisitions()
            .all(|a| a.attendance == Attendance::Attended);
        assert!(watched);
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_reason() {
        let subject = SubjectRef::new("p-test-1").unwrap();
        let refused = plan(
            &File::new(*b"%PDF-1.7", "application/pdf"),
            &subject,
            ACCEPTED,
            None,
        )
        .unwrap_err();
        assert!(matches!(refused, PartError::Format(_)));
        assert_eq!(refused.code(), "format.unrecognised");
    }
}
