//! Any file to a recording: whole, or block by block when it is long.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use cardio_core::index::SampleCount;
use cardio_core::recording::{Recording, Run, Waveform};

use crate::error::FormatError;
use crate::fields::len64;
use crate::fsource::DirSource;
use crate::rows::{Gathered, Row, Rows};
use crate::sensor::{healthypi, sbem, viatom};
use crate::sniff::{FormatId, HEAD_BYTES, sniff};
use crate::source::{ReadSeek, Source};
use crate::text::head_of;
use crate::{aecg, csv, dicom, edf, ishne, mfer, muse, philips, scp, wav, wfdb};

/// How to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Refuse what would otherwise be read with warnings.
    pub strict: bool,
    /// The most samples that [`read_path`] holds in memory, over all rows.
    pub max_samples: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            strict: false,
            max_samples: 1 << 30,
        }
    }
}

/// How far a read is, in samples over all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Read so far.
    pub samples: u64,
    /// Of so many, where that is known.
    pub of: Option<u64>,
}

impl Done {
    pub(crate) fn at_the_start(reader: &dyn RecordingReader) -> Self {
        let expected = reader.expected();
        Self {
            samples: 0,
            of: (!expected.is_empty()).then(|| expected.iter().sum()),
        }
    }
}

/// A recording that is read block by block, in memory that does not grow with its length.
pub trait RecordingReader: Send {
    /// The format being read.
    fn format(&self) -> FormatId;

    /// What the source says before its samples: the waveforms are there without runs.
    fn header(&self) -> &Recording;

    /// How many samples each waveform will have, where that is known before they are read
    /// and the sizes of the files bear it out; empty otherwise.
    fn expected(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Adds the next stretch of every waveform to `rows`, in the order of
    /// [`RecordingReader::header`]; `false` when there is no more.
    ///
    /// # Errors
    /// [`FormatError`] when the source cannot be read further.
    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError>;

    /// Completes a copy of the header with what is known after the last block: marks that
    /// lie between the samples, and what was wrong although it could be read.
    fn finish(&mut self, recording: &mut Recording);
}

/// Reads a whole recording from the disk. A WFDB record may be named with or without
/// `.hea`; files that a header names are looked for beside it.
///
/// # Errors
/// [`FormatError`] says which format, field and offset.
pub fn read_path(path: &Path, options: ReadOptions) -> Result<Recording, FormatError> {
    read_path_told(path, options, &mut |_| {})
}

/// As [`read_path`]; `told` hears after each block how far it is.
///
/// # Errors
/// As [`read_path`].
pub fn read_path_told(
    path: &Path,
    options: ReadOptions,
    told: &mut dyn FnMut(Done),
) -> Result<Recording, FormatError> {
    collect(open_path(path, options)?, options, told)
}

/// Opens a recording from the disk to read it block by block.
///
/// # Errors
/// As [`read_path`].
pub fn open_path(
    path: &Path,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let (source, name) = DirSource::beside(path);
    open(Arc::new(source), &name, options)
}

/// Reads a whole recording from any source.
///
/// # Errors
/// As [`read_path`].
pub fn read(
    source: Arc<dyn Source>,
    name: &str,
    options: ReadOptions,
) -> Result<Recording, FormatError> {
    collect(open(source, name, options)?, options, &mut |_| {})
}

/// Opens a recording from any source to read it block by block.
///
/// # Errors
/// As [`read_path`].
pub fn open(
    source: Arc<dyn Source>,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let (name, head) = find(source.as_ref(), name)?;
    let claims = FormatId::from_extension(Path::new(&name));
    let by_its_end = || viatom::ends_like_one(source.as_ref(), &name).then_some(FormatId::Viatom);
    let Some(content) = sniff(&head, Path::new(&name)).or_else(by_its_end) else {
        return Err(FormatError::Unrecognised {
            head: head_of(&head),
            name,
            claims,
        });
    };
    if let Some(claims) = claims.filter(|claims| *claims != content && options.strict) {
        return Err(FormatError::Misnamed {
            name,
            claims,
            content,
        });
    }
    match content {
        FormatId::Wfdb => wfdb::open(source, &name, options),
        FormatId::Edf | FormatId::Bdf => edf::open(source.as_ref(), &name, options),
        FormatId::Ishne => ishne::open(source.as_ref(), &name, options),
        FormatId::IshneAnnotations => ishne::open_marks(source.as_ref(), &name, options),
        FormatId::Dicom => dicom::open(source.as_ref(), &name, options),
        FormatId::Aecg => aecg::open(source.as_ref(), &name, options),
        FormatId::MuseXml => muse::open(source.as_ref(), &name, options),
        FormatId::PhilipsXml => philips::open(source.as_ref(), &name, options),
        FormatId::Wav => wav::open(source.as_ref(), &name, options),
        FormatId::Mfer => mfer::open(source.as_ref(), &name, options),
        FormatId::Scp => scp::open(source.as_ref(), &name, options),
        FormatId::Sbem => sbem::open(source.as_ref(), &name, options),
        FormatId::Viatom => viatom::open(source.as_ref(), &name, options),
        FormatId::HealthyPi => healthypi::open(source.as_ref(), &name, options),
        FormatId::Csv => csv::open(source.as_ref(), &name, options),
        FormatId::WfdbAnnotations => Err(FormatError::Unsupported {
            format: content,
            field: "recording",
            offset: 0,
            found: "a list of marks without a header".to_owned(),
        }),
    }
}

/// The file that a caller means, and its first bytes. `100` is `100.hea`, and so is
/// `100.dat` when that holds bare samples.
fn find(source: &dyn Source, name: &str) -> Result<(String, Vec<u8>), FormatError> {
    let stem = |extension: &str| {
        name.strip_suffix(extension)
            .map(|stem| format!("{stem}.hea"))
    };
    match head(source, name) {
        Ok(head) => {
            let bare = sniff(&head, Path::new(name)).is_none();
            let header = [".dat", ".mat", ".atr"].into_iter().find_map(stem);
            if let Some(header) = header.filter(|_| bare)
                && let Ok(head) = self::head(source, &header)
            {
                return Ok((header, head));
            }
            Ok((name.to_owned(), head))
        }
        Err(error) => {
            let header = format!("{name}.hea");
            self::head(source, &header)
                .map(|head| (header, head))
                .map_err(|_| error)
        }
    }
}

fn head(source: &dyn Source, name: &str) -> Result<Vec<u8>, FormatError> {
    let file = open_file(source, name)?;
    read_up_to(file, name, len64(HEAD_BYTES))
}

/// Opens a file and says its name when that fails.
pub(crate) fn open_file(source: &dyn Source, name: &str) -> Result<Box<dyn ReadSeek>, FormatError> {
    source.open(name).map_err(|source| FormatError::Open {
        name: name.to_owned(),
        source,
    })
}

/// The first `limit` bytes of a file, or all of it.
pub(crate) fn read_up_to(
    file: Box<dyn ReadSeek>,
    name: &str,
    limit: u64,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    match file.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(FormatError::Read {
            name: name.to_owned(),
            offset: len64(bytes.len()),
            source,
        }),
    }
}

/// Bytes that are asked of a file at once.
const STEP_BYTES: usize = 1 << 20;

/// A buffer that is filled again and again from one file. It grows as bytes come, not on the
/// word of a header, and its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    bytes: Vec<u8>,
}

impl Refill {
    /// The next `want` bytes of a file, or fewer at its end.
    pub(crate) fn next<'a>(
        &'a mut self,
        file: &mut dyn ReadSeek,
        want: usize,
    ) -> std::io::Result<&'a [u8]> {
        let mut got = 0_usize;
        while got < want {
            let end = want.min(got.saturating_add(STEP_BYTES));
            if self.bytes.len() < end {
                self.bytes.resize(end, 0);
            }
            let free = self.bytes.get_mut(got..end).unwrap_or_default();
            match file.read(free) {
                Ok(0) => break,
                Ok(count) => got = got.saturating_add(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.bytes.get(..got).unwrap_or_default())
    }
}

/// A whole file of a format whose files are small.
pub(crate) fn read_whole(
    source: &dyn Source,
    name: &str,
    format: FormatId,
    limit: u64,
) -> Result<Vec<u8>, FormatError> {
    let bytes = read_up_to(open_file(source, name)?, name, limit.saturating_add(1))?;
    if len64(bytes.len()) > limit {
        return Err(FormatError::TooLarge {
            format,
            field: "file",
            offset: 0,
            asked: len64(bytes.len()),
            limit,
        });
    }
    Ok(bytes)
}

/// Samples of a row that a block of a recording read at once holds.
const BLOCK_SAMPLES: usize = 1 << 16;

/// A recording that was read at once, given in blocks.
pub(crate) struct Whole {
    format: FormatId,
    header: Recording,
    left: Vec<Left>,
}

/// The runs of a row that were not yet given.
struct Left {
    runs: std::vec::IntoIter<Run>,
    /// The one that is being given, and how much of it was.
    open: Option<(Run, usize)>,
}

impl Left {
    /// Adds the next stretch to its row; `false` when there is no more.
    fn give(&mut self, row: &mut Row) -> bool {
        let open = self.open.take();
        let Some((run, given)) = open.or_else(|| self.runs.next().map(|run| (run, 0))) else {
            return false;
        };
        let end = run.samples.len().min(given.saturating_add(BLOCK_SAMPLES));
        let part = run.samples.as_slice().part(given..end);
        let first = run.first.after(SampleCount(len64(given)));
        row.place(first, &part.unwrap_or_default().to_vec());
        self.open = (end < run.samples.len()).then_some((run, end));
        true
    }
}

impl Whole {
    pub(crate) fn new(format: FormatId, mut recording: Recording) -> Self {
        let left = |row: &mut Waveform| Left {
            runs: std::mem::take(&mut row.runs).into_iter(),
            open: None,
        };
        Self {
            format,
            left: recording.waveforms.iter_mut().map(left).collect(),
            header: recording,
        }
    }
}

impl RecordingReader for Whole {
    fn format(&self) -> FormatId {
        self.format
    }

    fn header(&self) -> &Recording {
        &self.header
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        let mut more = false;
        for (position, left) in self.left.iter_mut().enumerate() {
            if let Some(row) = rows.row(position) {
                more |= left.give(row);
            }
        }
        Ok(more)
    }

    fn finish(&mut self, _recording: &mut Recording) {}
}

/// Reads all blocks into one recording, within the caller's limit.
fn collect(
    mut reader: Box<dyn RecordingReader>,
    options: ReadOptions,
    told: &mut dyn FnMut(Done),
) -> Result<Recording, FormatError> {
    let mut done = Done::at_the_start(&*reader);
    let mut recording = reader.header().clone();
    let mut block = Rows::new(recording.waveforms.len());
    let mut gathered = Gathered::new(recording.waveforms.len());
    for (position, count) in reader.expected().into_iter().enumerate() {
        let count = count.min(options.max_samples);
        gathered.reserve(position, usize::try_from(count).unwrap_or(0));
    }
    while reader.next_block(&mut block)? {
        gathered.add(&mut block);
        let held = gathered.held();
        if held > options.max_samples {
            return Err(FormatError::TooLarge {
                format: reader.format(),
                field: "samples",
                offset: 0,
                asked: held,
                limit: options.max_samples,
            });
        }
        done.samples = held;
        told(done);
    }
    for (waveform, runs) in recording.waveforms.iter_mut().zip(gathered.into_runs()) {
        waveform.runs = runs;
    }
    reader.finish(&mut recording);
    Ok(recording)
}
