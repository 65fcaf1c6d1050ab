//! The simulator's account of what it sent: JSON lines, schema `sim-ledger/1`
//! (`firmware-sim/README.md`).

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::compare::SentRow;

/// What a sensor sent during a visit.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The leads that were wired, in the order of the counts of a row.
    pub(crate) leads: Vec<String>,
    /// Every input of the sensor by its lead, `-` where nothing is connected.
    pub(crate) inputs: Vec<String>,
    /// Samples per second.
    pub(crate) rate_hz: u32,
    /// Counts per millivolt.
    pub(crate) gain_adu_per_mv: f64,
    /// After how many frames the sensor's counter begins again, if it has one.
    pub(crate) modulus: Option<u64>,
    /// Every row that was sent in a readable frame, in the order of the sensor's time.
    pub(crate) sent: Vec<SentRow>,
    /// What was played besides samples, one line each.
    pub(crate) faults: Vec<String>,
    /// What was taken and never sent.
    pub(crate) lost: Vec<Lost>,
    /// Whether the visit was played to its end.
    pub(crate) ended: bool,
}

/// Samples that a sensor took and did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The first of them on the sensor's time line.
    pub(crate) from: u64,
    /// How many.
    pub(crate) len: u64,
    /// Why.
    pub(crate) cause: String,
}

/// The lines that the judge reads; others are told to a person only.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    Header {
        schema: String,
        rate_hz: u32,
        #[serde(default)]
        gain_adu_per_mv: Option<f64>,
        #[serde(default)]
        modulus: Option<u64>,
        leads: Vec<String>,
        wiring: Vec<Option<String>>,
    },
    Frame {
        i: u64,
        rows: Vec<Vec<i32>>,
    },
    Lost {
        from: u64,
        len: u64,
        cause: String,
    },
    Signal {
        kind: String,
        subject: String,
        from: u64,
        len: u64,
    },
    End {},
    #[serde(other)]
    Other,
}

impl Ledger {
    /// Reads a ledger, whole or as far as it has been written.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::open(path)
            .with_context(|| format!("cannot open the ledger {}", path.display()))?;
        let mut ledger = Self::default();
        let mut wired = Vec::new();
        for (number, text) in BufReader::new(file).lines().enumerate() {
            let place = || format!("line {} of {}", number + 1, path.display());
            let text = text.with_context(place)?;
            let line = serde_json::from_str(&text).with_context(place)?;
            ledger.take(line, &mut wired).with_context(place)?;
        }
        Ok(ledger)
    }

    /// The first line of a ledger that is being written, once it is there.
    pub(crate) fn header(path: &Path) -> anyhow::Result<Option<Self>> {
        let Some((first, _)) = text_so_far(path)?
            .split_once('\n')
            .map(|(a, b)| (a.to_owned(), b.len()))
        else {
            return Ok(None);
        };
        let mut ledger = Self::default();
        ledger.take(
            serde_json::from_str(&first).context("the ledger's first line")?,
            &mut Vec::new(),
        )?;
        Ok(Some(ledger))
    }

    /// Whether a frame has been sent yet.
    pub(crate) fn has_frames(path: &Path) -> anyhow::Result<bool> {
        Ok(text_so_far(path)?.contains("\"event\":\"frame\""))
    }

    /// Whether the visit has been played to its end.
    pub(crate) fn is_ended(path: &Path) -> anyhow::Result<bool> {
        Ok(tail(path)?.contains("\"event\":\"end\""))
    }

    fn take(&mut self, line: Line, wired: &mut Vec<usize>) -> anyhow::Result<()> {
        match line {
            Line::Header {
                schema,
                rate_hz,
                gain_adu_per_mv,
                modulus,
                leads,
                wiring,
            } => {
                if schema != "sim-ledger/1" {
                    bail!("{schema} is not a ledger that this judge can read");
                }
                self.rate_hz = rate_hz;
                // A sound is no voltage.
                self.gain_adu_per_mv = gain_adu_per_mv.unwrap_or_default();
                self.modulus = modulus;
                for (row, (lead, wire)) in leads.into_iter().zip(wiring).enumerate() {
                    if wire.is_none() {
                        self.inputs.push("-".to_owned());
                        continue;
                    }
                    wired.push(row);
                    self.leads.push(lead.clone());
                    self.inputs.push(lead);
                }
            }
            Line::Frame { i, rows } => self.take_frame(i, &rows, wired)?,
            Line::Lost { from, len, cause } => {
                self.faults
                    .push(format!("{len} sample(s) lost at {from} ({cause})"));
                self.lost.push(Lost { from, len, cause });
            }
            Line::Signal {
                kind,
                subject,
                from,
                len,
            } => {
                self.faults
                    .push(format!("{kind} {subject} for {len} sample(s) at {from}"));
            }
            Line::End {} => self.ended = true,
            Line::Other => {}
        }
        Ok(())
    }

    fn take_frame(&mut self, first: u64, rows: &[Vec<i32>], wired: &[usize]) -> anyhow::Result<()> {
        let len = rows.first().map_or(0, Vec::len);
        for (offset, at) in (0..len).zip(first..) {
            let counts: Option<Vec<i32>> = wired
                .iter()
                .map(|row| rows.get(*row)?.get(offset).copied())
                .collect();
            let counts = counts.context("a frame lacks a row or a sample")?;
            self.sent.push(SentRow { at, counts });
        }
        Ok(())
    }
}

fn text_so_far(path: &Path) -> anyhow::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(err) => Err(err).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The end of the file: behind the sensor's last word it may say that the port was closed.
fn tail(path: &Path) -> anyhow::Result<String> {
    const TAIL_BYTES: u64 = 512;
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let len = file.metadata().context("a ledger without a length")?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))
        .context("cannot seek in the ledger")?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)
        .context("cannot read the ledger's end")?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use std::io::Write as _;

    const HEADER: &str = r#"{"event":"header","schema":"sim-ledger/1","device":"d","rate_hz":250,"gain_adu_per_mv":2.0,"leads":["I","II"],"wiring":[null,"MLII"]}"#;

    #[test]
    fn rows_of_wired_leads_are_read_in_the_sensors_time() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{HEADER}").unwrap();
        writeln!(
            file,
            r#"{{"event":"frame","i":7,"seq":3,"t_us":1,"rows":[[0,0],[5,6]]}}"#
        )
        .unwrap();
        writeln!(file, r#"{{"event":"repeat","i":7}}"#).unwrap();
        writeln!(
            file,
            r#"{{"event":"end","samples":2,"frames":1,"i":9,"reason":"duration"}}"#
        )
        .unwrap();
        let ledger = Ledger::read(file.path()).unwrap();
        assert_eq!(ledger.leads, ["II"]);
        assert_eq!(ledger.inputs, ["-", "II"]);
        assert_eq!(
            (ledger.sent[1].at, ledger.sent[1].counts.clone()),
            (8, vec![6])
        );
        assert!(ledger.ended);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{HEADER}").unwrap();
        writeln!(file, "{{").unwrap();
        let err = Ledger::read(file.path()).unwrap_err();
        assert!(err.to_string().starts_with("line 2 of"), "{err}");
    }
}
