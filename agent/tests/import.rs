//! Files in the drop folder: each becomes one recording, whatever happens meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardio_agent::ids::RandomIds;
use cardio_agent::import::{Import, ImportPlan, Keep};
use cardio_agent::worklist::{Assigned, Choice};
use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, ManualClock, UtcMicros};
use cardio_core::ids::{AcquisitionId, BootId, BoxId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_core::request::RequestRef;
use cardio_core::subject::SubjectRef;
use cardio_formats::fsource::save;
use cardio_formats::sniff::FormatId;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use cardio_formats::{ReadOptions, read_path};
use cardio_store::{OpenAcquisition, OutboxError, SubjectMark};
use cardio_wire::lane::Lane;
use cardio_wire::record::{EndReason, OriginalPartV1, Record};
use tokio::sync::watch;

const CONFIGURED: &str = "p-configured";

/// An outbox of this test: it keeps what the real one would, refuses after so many records,
/// and keeps the real one's notes.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    records: Vec<(Lane, Record)>,
    notes: BTreeMap<AcquisitionId, OpenAcquisition>,
    room: Option<usize>,
}

impl Shelf {
    fn keep_one(&self, lane: Lane, record: Record) -> Result<(), OutboxError> {
        let mut kept = self.0.lock().unwrap();
        if let Some(room) = &mut kept.room {
            *room = room.checked_sub(1).ok_or(OutboxError::Closed)?;
        }
        match &record {
            Record::AcquisitionStarted(started) => {
                let acquisition = &started.acquisition;
                let note = OpenAcquisition {
                    acquisition: acquisition.id,
                    source: acquisition.source.clone(),
                    subject: (acquisition.subject.as_ref())
                        .map(|subject| SubjectMark::of(acquisition.id, subject)),
                    rate: acquisition.rate,
                    next_sample: SampleIndex(0),
                    next_ordinal: 0,
                    samples: SampleCount(0),
                    gaps: 0,
                    missing: SampleCount(0),
                    last_anchor: None,
                };
                kept.notes.insert(acquisition.id, note);
            }
            Record::Segment(segment) => {
                let note = kept.notes.get_mut(&segment.segment.acquisition).unwrap();
                note.next_sample = segment.segment.end();
                note.next_ordinal += 1;
                note.samples.0 += segment.segment.block.count().0;
            }
            Record::Gap(gap) => {
                let note = kept.notes.get_mut(&gap.acquisition).unwrap();
                note.next_sample = gap.gap.end();
                note.gaps += 1;
                note.missing.0 += gap.gap.len.0;
            }
            Record::AcquisitionEnded(ended) => {
                kept.notes.remove(&ended.acquisition).unwrap();
            }
            _ => {}
        }
        kept.records.push((lane, record));
        Ok(())
    }
}

impl Keep for Shelf {
    fn keep(&self, lane: Lane, records: Vec<Record>) -> Result<(), OutboxError> {
        let mut records = records.into_iter();
        records.try_for_each(|record| self.keep_one(lane, record))
    }

    fn open(&self) -> Result<Vec<OpenAcquisition>, OutboxError> {
        Ok(self.0.lock().unwrap().notes.values().cloned().collect())
    }
}

struct Bench {
    dir: tempfile::TempDir,
    shelf: Shelf,
    clock: Arc<ManualClock>,
    choice: watch::Sender<Choice>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("drop")).unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        Self {
            dir,
            shelf: Shelf::default(),
            choice: watch::Sender::new(Choice::default()),
            clock: Arc::new(ManualClock::at(ClockReading {
                box_instant: BoxInstant {
                    boot: BootId([7; 16]),
                    micros: 1_000_000,
                },
                utc: UtcMicros(1_790_000_000_000_000),
                quality: ClockQuality::Unsynchronised,
            })),
        }
    }

    fn drop_folder(&self) -> std::path::PathBuf {
        self.dir.path().join("drop")
    }

    fn import(&self) -> Import<Shelf> {
        let plan = ImportPlan {
            folder: Some(self.drop_folder()),
            sensors: Vec::new(),
            state: self.dir.path().join("state"),
            quiet_for: Duration::from_secs(5),
            resume_within: Duration::from_secs(600),
            device: BoxId([3; 16]),
            source: SourceId::new("import").unwrap(),
            subject: SubjectRef::new(CONFIGURED).ok(),
            choice: self.choice.subscribe(),
        };
        let ids = Box::new(RandomIds::new());
        Import::new(plan, self.shelf.clone(), self.clock.clone(), ids).unwrap()
    }

    /// Lets the folder be quiet for long enough, and looks.
    fn settle(&self, import: &mut Import<Shelf>) {
        import.look(&|| false);
        self.clock.advance_micros(6_000_000);
        import.look(&|| false);
    }

    fn write(&self, name: &str, format: FormatId) {
        self.write_as(name, format, &recording());
    }

    fn write_as(&self, name: &str, format: FormatId, recording: &Recording) {
        let options = WriteOptions { drop_facts: true };
        let written = write(recording, format, name, options).unwrap();
        save(&self.drop_folder(), &written.files, false).unwrap();
    }

    fn records(&self) -> Vec<(Lane, Record)> {
        self.shelf.0.lock().unwrap().records.clone()
    }

    fn room(&self, room: Option<usize>) {
        self.shelf.0.lock().unwrap().room = room;
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| {
            let names = entries.map(|one| one.unwrap().file_name().into_string().unwrap());
            names.collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// Two leads at 250 Hz: 20 s, a gap of 2 s, 10 s.
fn recording() -> Recording {
    let row = |lead: Lead, by: i32| Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate: SamplingRate::hz(250).unwrap(),
        calibration: Calibration::millivolts(200.0, 0.0).unwrap(),
        runs: vec![
            Run {
                first: SampleIndex(0),
                samples: (0..5000).map(|at| at % 97 * by).collect(),
            },
            Run {
                first: SampleIndex(5500),
                samples: (0..2500).map(|at| at % 89 * by).collect(),
            },
        ],
    };
    Recording {
        format: "seed",
        name: "seed".to_owned(),
        waveforms: vec![row(Lead::I, 1), row(Lead::II, -3)],
        ..Recording::default()
    }
}

/// The rows of one acquisition, with `None` for what a gap names.
type Rows = Vec<Vec<Option<i32>>>;

/// The samples and gaps of all acquisitions that ended.
fn rows(records: &[(Lane, Record)]) -> Vec<Rows> {
    let mut open: BTreeMap<AcquisitionId, (u64, Rows)> = BTreeMap::new();
    let mut ended = Vec::new();
    for (lane, record) in records {
        match record {
            Record::AcquisitionStarted(started) => {
                assert_eq!(*lane, Lane::Bulk);
                let acquisition = &started.acquisition;
                let rows = vec![Vec::new(); acquisition.waveforms.len()];
                assert!(open.insert(acquisition.id, (0, rows)).is_none());
            }
            Record::Segment(segment) => {
                let segment = &segment.segment;
                let (ordinal, rows) = open.get_mut(&segment.acquisition).unwrap();
                assert_eq!(segment.ordinal, *ordinal);
                *ordinal += 1;
                for (row, samples) in rows.iter_mut().zip(&segment.block.leads) {
                    assert_eq!(u64::try_from(row.len()).unwrap(), segment.first().0);
                    row.extend(samples.iter().copied().map(Some));
                }
            }
            Record::Gap(gap) => {
                let (_, rows) = open.get_mut(&gap.acquisition).unwrap();
                for row in rows {
                    row.extend(vec![None; gap.gap.len.len()]);
                }
            }
            Record::AcquisitionEnded(last) => {
                let (segments, rows) = open.remove(&last.acquisition).unwrap();
                assert_eq!(last.segments, segments);
                assert_eq!(last.end.0, u64::try_from(rows[0].len()).unwrap());
                ended.push(rows);
            }
            _ => {}
        }
    }
    assert!(open.is_empty());
    ended
}

/// The files that came as they were, put together from their parts, with what they became.
fn originals(records: &[(Lane, Record)]) -> Vec<(Vec<u8>, Vec<AcquisitionId>)> {
    let mut files: BTreeMap<[u8; 32], (u64, BTreeMap<u64, OriginalPartV1>)> = BTreeMap::new();
    for (lane, record) in records {
        if let Record::OriginalPart(part) = record {
            assert_eq!(*lane, Lane::Bulk);
            let (size, parts) = files.entry(part.file).or_default();
            *size = part.size;
            parts.insert(part.from, part.clone());
        }
    }
    let whole = |(file, (size, parts)): ([u8; 32], (u64, BTreeMap<u64, OriginalPartV1>))| {
        let bytes: Vec<u8> = parts.values().flat_map(|one| one.part.clone()).collect();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
        let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
        assert_eq!(hash.as_ref(), file);
        (bytes, parts[&0].acquisitions.clone())
    };
    files.into_iter().map(whole).collect()
}

/// Acquisitions in the order in which they began.
fn begun(records: &[(Lane, Record)]) -> Vec<AcquisitionId> {
    let of = |(_, record): &(Lane, Record)| match record {
        Record::AcquisitionStarted(started) => Some(started.acquisition.id),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

fn wanted() -> Rows {
    rows_of(&recording())
}

fn rows_of(recording: &Recording) -> Rows {
    let of = |waveform: &Waveform| {
        let mut row: Vec<Option<i32>> = Vec::new();
        for run in &waveform.runs {
            row.resize(run.first.0.try_into().unwrap(), None);
            row.extend(run.samples.iter().map(Some));
        }
        row
    };
    recording.waveforms.iter().map(of).collect()
}

#[test]
fn a_complete_file_becomes_an_acquisition_and_is_put_aside() {
    let bench = Bench::new();
    bench.write("day", FormatId::Edf);
    let mut import = bench.import();
    bench.settle(&mut import);
    assert_eq!(rows(&bench.records()), [wanted()]);
    assert_eq!(names(&bench.drop_folder()), ["done"]);
    assert_eq!(names(&bench.drop_folder().join("done")), ["day.edf"]);
    let file = std::fs::read(bench.drop_folder().join("done/day.edf")).unwrap();
    assert!(file.len() > 20_000, "of several parts");
    let records = bench.records();
    assert_eq!(originals(&records), [(file, begun(&records))]);
}

#[test]
fn all_files_of_a_record_go_together() {
    let bench = Bench::new();
    bench.write("r", FormatId::Wfdb);
    bench.settle(&mut bench.import());
    assert_eq!(rows(&bench.records()), [wanted()]);
    assert_eq!(names(&bench.drop_folder()), ["done"]);
    let done = bench.drop_folder().join("done");
    let mut files: Vec<Vec<u8>> = names(&done)
        .iter()
        .map(|name| std::fs::read(done.join(name)).unwrap())
        .collect();
    files.sort();
    let mut sent: Vec<Vec<u8>> = originals(&bench.records())
        .into_iter()
        .map(|one| one.0)
        .collect();
    sent.sort();
    assert_eq!(sent, files);
}

#[test]
fn every_format_that_is_written_becomes_the_acquisition_that_it_was_made_of() {
    let mut gapless = recording();
    for row in &mut gapless.waveforms {
        row.runs.truncate(1);
    }
    gapless.start = Some(StatedStart {
        local: "2024-02-28T23:59:55".to_owned(),
        utc_offset_minutes: None,
    });
    for format in WRITABLE {
        let bench = Bench::new();
        bench.write_as("r", format, &gapless);
        bench.settle(&mut bench.import());
        let found = rows(&bench.records());
        assert_eq!(found, [rows_of(&gapless)], "{}", format.name());
        assert_eq!(names(&bench.drop_folder()), ["done"], "{}", format.name());
    }
}

/// Rows of other rate or other gaps become acquisitions of their own, so the order may differ.
#[test]
fn recordings_of_others_become_what_they_hold() {
    let Some(root) = std::env::var_os("CARDIO_DATA").map(PathBuf::from) else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    for files in [
        &["wfdb/formats/100s.hea", "wfdb/formats/100s.dat"][..],
        &["edf/contec_0000050.ECG.edf"],
        &["edf/luna_mitdb100s_discontinuous.edf"],
        &["edf/mne_test.bdf"],
        &["scp/Example.scp"],
        &["dicom/waveform_ecg.dcm"],
        &["ishne/ECG_P28.01.ecg", "ishne/ECG_P28.01.ann"],
        &["aecg/Example.xml"],
        &["musexml/MUSE_example.xml"],
        &["philipsxml/3191723_1_04.xml"],
        &["mfer/test-file.MWF"],
        &["pcg/cinc2016/b0102.wav"],
    ] {
        let bench = Bench::new();
        for file in files {
            let from = root.join(file);
            let to = bench.drop_folder().join(from.file_name().unwrap());
            std::fs::copy(&from, to).unwrap();
        }
        bench.settle(&mut bench.import());
        let mut found = rows(&bench.records()).concat();
        let whole = read_path(&root.join(files[0]), ReadOptions::default()).unwrap();
        let mut wanted = rows_of(&whole);
        wanted.retain(|row| row.iter().any(Option::is_some));
        found.sort();
        wanted.sort();
        assert!(found == wanted && !found.is_empty(), "{}", files[0]);
        assert_eq!(names(&bench.drop_folder()), ["done"], "{}", files[0]);
    }
}

#[test]
fn a_file_that_still_grows_waits() {
    let bench = Bench::new();
    bench.write("day", FormatId::Edf);
    let path = bench.drop_folder().join("day.edf");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..5000]).unwrap();
    let mut import = bench.import();
    import.look(&|| false);
    bench.clock.advance_micros(4_000_000);
    std::fs::write(&path, &whole).unwrap();
    import.look(&|| false);
    bench.clock.advance_micros(4_000_000);
    import.look(&|| false);
    assert!(bench.records().is_empty());
    bench.clock.advance_micros(2_000_000);
    import.look(&|| false);
    assert_eq!(rows(&bench.records()), [wanted()]);
}

#[test]
fn the_same_content_twice_is_one_recording() {
    let bench = Bench::new();
    bench.write("day", FormatId::Edf);
    bench.settle(&mut bench.import());
    bench.write("again", FormatId::Edf);
    bench.settle(&mut bench.import());
    assert_eq!(rows(&bench.records()).len(), 1);
    let done = names(&bench.drop_folder().join("done"));
    assert_eq!(done, ["again.edf", "day.edf"]);
}

#[test]
fn a_cut_after_any_record_loses_and_doubles_nothing() {
    let whole = {
        let bench = Bench::new();
        bench.write("day", FormatId::Edf);
        bench.settle(&mut bench.import());
        bench.records().len()
    };
    for room in 0..=whole {
        let bench = Bench::new();
        bench.write("day", FormatId::Edf);
        bench.room(Some(room));
        bench.settle(&mut bench.import());
        bench.room(None);
        // the process is gone; another one begins
        bench.settle(&mut bench.import());
        assert_eq!(rows(&bench.records()), [wanted()], "cut after {room}");
        let file = std::fs::read(bench.drop_folder().join("done/day.edf")).unwrap();
        let records = bench.records();
        assert_eq!(
            originals(&records),
            [(file, begun(&records))],
            "cut after {room}"
        );
        assert_eq!(names(&bench.drop_folder()), ["done"], "cut after {room}");
    }
}

/// Whose each acquisition is, and what it was made for.
fn owners(records: &[(Lane, Record)]) -> Vec<(Option<String>, Option<String>)> {
    let of = |(_, record): &(Lane, Record)| match record {
        Record::AcquisitionStarted(started) => {
            let acquisition = &started.acquisition;
            let subject = acquisition
                .subject
                .as_ref()
                .map(|one| one.as_str().to_owned());
            let request = acquisition
                .request
                .as_ref()
                .map(|one| one.as_str().to_owned());
            Some((subject, request))
        }
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

/// A file of two rows with other gaps, which become two acquisitions.
fn drop_two_parts(bench: &Bench, name: &str) {
    let rows: String = (0..600).map(|at| format!("{at},{}\n", at % 7)).collect();
    let text = format!("# rate_hz: 250\nI,II\n{rows}5,\n");
    std::fs::write(bench.drop_folder().join(name), text).unwrap();
}

fn chosen(who: &str) -> Choice {
    Choice {
        assigned: Some(Assigned {
            subject: SubjectRef::new(who).unwrap(),
            request: RequestRef::new(&format!("req-{who}")).unwrap(),
        }),
        at_once: true,
    }
}

#[test]
fn a_file_belongs_to_the_visit_that_is_chosen_else_to_whom_the_configuration_names() {
    let bench = Bench::new();
    let mut import = bench.import();
    bench.choice.send_replace(chosen("p-visited"));
    bench.write("day", FormatId::Edf);
    bench.settle(&mut import);
    bench.choice.send_replace(Choice::default());
    let mut gapless = recording();
    for row in &mut gapless.waveforms {
        row.runs.truncate(1);
    }
    bench.write_as("night", FormatId::Edf, &gapless);
    bench.settle(&mut import);
    let visited = (
        Some("p-visited".to_owned()),
        Some("req-p-visited".to_owned()),
    );
    let configured = (Some(CONFIGURED.to_owned()), None);
    assert_eq!(owners(&bench.records()), [visited, configured]);
}

#[test]
fn a_file_that_was_begun_is_not_divided_between_two_patients() {
    let configured = Some(CONFIGURED.to_owned());
    let visited = Some("p-visited".to_owned());
    for (first, then, want) in [
        (chosen("p-visited"), chosen("p-visited"), visited),
        (chosen("p-visited"), chosen("p-other"), None),
        (chosen("p-visited"), Choice::default(), None),
        (Choice::default(), chosen("p-other"), configured),
    ] {
        let bench = Bench::new();
        drop_two_parts(&bench, "two.csv");
        bench.choice.send_replace(first);
        bench.room(Some(1));
        bench.settle(&mut bench.import());
        let begun = owners(&bench.records());
        assert_eq!(begun.len(), 1, "the outbox was full after the first");
        bench.room(None);
        bench.choice.send_replace(then);
        bench.settle(&mut bench.import());
        let owners: Vec<Option<String>> = owners(&bench.records())
            .into_iter()
            .map(|one| one.0)
            .collect();
        assert_eq!(owners, [begun[0].0.clone(), want]);
        assert_eq!(names(&bench.drop_folder()), ["done"]);
    }
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_the_reason() {
    let bench = Bench::new();
    std::fs::write(bench.drop_folder().join("photo.edf"), b"\x89PNG").unwrap();
    bench.settle(&mut bench.import());
    let refused = bench.drop_folder().join("refused");
    assert_eq!(names(&refused), ["photo.edf", "photo.edf.reason.txt"]);
    let reason = std::fs::read_to_string(refused.join("photo.edf.reason.txt")).unwrap();
    assert!(reason.contains("code:    format.unrecognised"), "{reason}");
    let told = bench.records();
    let [(Lane::Log, Record::BoxEvent(event))] = &told[..] else {
        panic!("one event: {told:?}")
    };
    assert_eq!(
        (event.code.as_str(), event.detail.as_str()),
        ("import.refused", "format.unrecognised")
    );
}

#[test]
fn a_header_without_its_samples_is_refused_and_keeps_nothing_else_waiting() {
    let bench = Bench::new();
    let header = "a 1 250 100\na.dat 16 200 12 0 0 0 0 I\n";
    std::fs::write(bench.drop_folder().join("a.hea"), header).unwrap();
    bench.write("day", FormatId::Edf);
    bench.settle(&mut bench.import());
    assert_eq!(rows(&bench.records()), [wanted()]);
    let refused = names(&bench.drop_folder().join("refused"));
    assert_eq!(refused, ["a.hea", "a.hea.reason.txt"]);
}

#[test]
fn an_acquisition_whose_file_stays_away_is_ended_and_begins_anew_when_it_comes_back() {
    let bench = Bench::new();
    bench.write("day", FormatId::Edf);
    bench.room(Some(3));
    bench.settle(&mut bench.import());
    bench.room(None);
    let (there, away) = (bench.drop_folder(), bench.dir.path().join("pulled"));
    std::fs::rename(&there, &away).unwrap();
    std::fs::create_dir(&there).unwrap();
    let mut import = bench.import();
    bench.settle(&mut import);
    bench.clock.advance_micros(601_000_000);
    import.look(&|| false);
    let last = bench.records().pop().unwrap().1;
    let Record::AcquisitionEnded(ended) = last else {
        panic!("{last:?}")
    };
    assert_eq!((ended.reason, ended.segments), (EndReason::SourceLost, 2));
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    bench.settle(&mut import);
    assert_eq!(rows(&bench.records()).pop().unwrap(), wanted());
}
