//! Fetching a recording from memory: open at an offset, read on, close. A fetch that was cut
//! off goes on from the last byte that is there.

use super::frame::{Command, ViatomFrame};

/// Bytes of a name.
const NAME_BYTES: usize = 16;
/// Largest recording that is fetched: a day and more of compressed ECG.
const SIZE_MAX: u32 = 64 << 20;

/// Why a recording cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The recorder refuses.
    #[error("the recorder refused command {command:#04x} with kind {kind}")]
    Refused {
        /// The command.
        command: u8,
        /// The kind of its answer.
        kind: u8,
    },
    /// The recording is larger than any that the recorder can make.
    #[error("the recorder states a size of {size} bytes, the limit is 64 MiB")]
    Size {
        /// The stated size.
        size: u32,
    },
    /// The answer is too short for what it should hold.
    #[error("the answer to command {command:#04x} is too short")]
    Short {
        /// The command.
        command: u8,
    },
}

impl FileError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "viatom.refused",
            Self::Size { .. } => "viatom.size",
            Self::Short { .. } => "viatom.short",
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// Send this frame.
    Send(ViatomFrame),
    /// The recording is complete.
    Done,
}

/// A recording being fetched.
#[derive(Clone, Debug)]
pub struct FileFetch {
    name: [u8; NAME_BYTES],
    size: Option<u32>,
    bytes: Vec<u8>,
    sequence: u8,
    closing: bool,
}

/// Reads the answer to the list of files: a count, then names padded with NULs.
pub fn file_names(data: &[u8]) -> Vec<String> {
    let Some((count, names)) = data.split_first() else {
        return Vec::new();
    };
    names
        .chunks_exact(NAME_BYTES)
        .take(usize::from(*count))
        .map(|name| {
            String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned()
        })
        .collect()
}

impl FileFetch {
    /// A fetch of the recording of this name, going on behind what is `known` already.
    pub fn new(name: &str, known: Vec<u8>) -> Self {
        let mut padded = [0; NAME_BYTES];
        for (slot, byte) in padded.iter_mut().zip(name.bytes()) {
            *slot = byte;
        }
        Self {
            name: padded,
            size: None,
            bytes: known,
            sequence: 0,
            closing: false,
        }
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn send(&mut self, command: Command, data: Vec<u8>) -> FileStep {
        self.sequence = self.sequence.wrapping_add(1);
        FileStep::Send(ViatomFrame::request(command, self.sequence, data))
    }

    /// The first frame to send, also after a new connection.
    pub fn open(&mut self) -> FileStep {
        self.size = None;
        self.closing = false;
        let data = [&self.name[..], &self.offset().to_le_bytes()].concat();
        self.send(Command::OpenFile, data)
    }

    /// Takes an answer. One that answers another command is passed over.
    ///
    /// # Errors
    /// [`FileError`]; what is there already stays, for a later fetch.
    pub fn on_frame(&mut self, frame: &ViatomFrame) -> Result<Option<FileStep>, FileError> {
        let command = frame.command;
        if frame.sequence != self.sequence {
            return Ok(None);
        }
        if frame.kind != 1 {
            let kind = frame.kind;
            return Err(FileError::Refused { command, kind });
        }
        let step = match (Command::from_byte(command), self.size) {
            (Some(Command::OpenFile), None) => {
                let size = frame.data.first_chunk::<4>();
                let size = u32::from_le_bytes(*size.ok_or(FileError::Short { command })?);
                if size > SIZE_MAX {
                    return Err(FileError::Size { size });
                }
                if self.offset() > size {
                    // another recording than that which was begun
                    self.bytes.clear();
                    return Ok(Some(self.open()));
                }
                self.size = Some(size);
                self.next(size)
            }
            (Some(Command::ReadFile), Some(size)) => {
                let room = size.saturating_sub(self.offset());
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                if frame.data.is_empty() && room > 0 {
                    return Err(FileError::Short { command });
                }
                self.bytes.extend(frame.data.iter().take(room));
                self.next(size)
            }
            (Some(Command::CloseFile), Some(_)) if self.closing => FileStep::Done,
            _ => return Ok(None),
        };
        Ok(Some(step))
    }

    /// Asks once more what was asked last, under another number.
    pub fn again(&mut self) -> FileStep {
        match self.size {
            None => self.open(),
            Some(size) => self.next(size),
        }
    }

    /// How many bytes the recorder states, once it has.
    pub const fn size(&self) -> Option<u32> {
        self.size
    }

    /// What has been fetched, when nothing more is.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn next(&mut self, size: u32) -> FileStep {
        if self.offset() < size {
            let offset = self.offset().to_le_bytes().to_vec();
            return self.send(Command::ReadFile, offset);
        }
        self.closing = true;
        self.send(Command::CloseFile, Vec::new())
    }

    /// What has been fetched so far: to be kept over a lost link.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes before and behind the wave of a recording, and how it ends.
const HEAD: [u8; 10] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const MAGIC: u32 = 0xA55A_0438;
const RATE_HZ: usize = 125;

/// A recording as the recorder keeps it: differences of a byte, a larger one behind 127 or
/// -127, a sample as it is behind -128.
pub fn recording(samples: &[i16]) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    let mut last = 0_i16;
    for sample in samples {
        let step = i32::from(*sample) - i32::from(last);
        last = *sample;
        let more = u8::try_from(step.unsigned_abs().saturating_sub(127));
        match (i8::try_from(step), more) {
            (Ok(step @ -126..=126), _) => out.push(step.cast_unsigned()),
            (_, Ok(more)) => out.extend([if step > 0 { 127 } else { 0x81 }, more]),
            _ => {
                out.push(0x80);
                out.extend(sample.to_le_bytes());
            }
        }
    }
    let seconds = u32::try_from(samples.len() / RATE_HZ).unwrap_or(u32::MAX);
    out.extend(seconds.to_le_bytes());
    out.extend([0; 12]);
    out.extend(MAGIC.to_le_bytes());
    out
}
