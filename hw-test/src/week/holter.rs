//! The file of a Holter recorder, made here: a WFDB record of three leads at 250 Hz with 16-bit
//! samples, beats of changing length, wander and noise, so that it packs as a real one does.
//!
//! Deliberately absent: the product's writers. The rig is a recorder of its own.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;

use crate::chance::Chance;
use crate::clock::since_1970;

const RATE_HZ: u64 = 250;
const LEADS: [&str; 3] = ["MLII", "V1", "V5"];
/// How large each lead shows the beat, in percent.
const SIZES: [i32; 3] = [100, -60, 130];
/// Samples of a beat at its slowest.
const BEAT_MAX: usize = 300;
/// Samples of half the wander of the base line.
const WANDER: i32 = 1_000;

/// One recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holter {
    /// Its length.
    pub(crate) hours: u64,
    /// Where chance starts: no two recordings are the same.
    pub(crate) seed: u64,
    /// How long ago it ended, in seconds.
    pub(crate) ended_s_ago: i64,
}

impl Holter {
    /// Puts the recording into a drop folder, its two files at once.
    pub(crate) fn lie_in(self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let failed = || format!("cannot make the recording {name}");
        let aside = folder.with_extension("new");
        std::fs::create_dir_all(&aside).with_context(failed)?;
        let samples = self.hours * 3_600 * RATE_HZ;
        let (signal, header) = (format!("{name}.dat"), format!("{name}.hea"));
        let mut out = BufWriter::new(File::create(aside.join(&signal)).with_context(failed)?);
        let mut rows = Rows::new(self.seed);
        for _ in 0..samples {
            for count in rows.next() {
                out.write_all(&count.to_le_bytes()).with_context(failed)?;
            }
        }
        out.into_inner().context("the signal is not written")?;
        let mut text = format!("{name} {} {RATE_HZ} {samples}\n", LEADS.len());
        for lead in LEADS {
            text.push_str(&format!("{signal} 16 200 16 0 0 0 0 {lead}\n"));
        }
        let file = File::create(aside.join(&header)).with_context(failed)?;
        (&file).write_all(text.as_bytes()).with_context(failed)?;
        let ago = Duration::from_secs(u64::try_from(self.ended_s_ago).unwrap_or_default());
        let ended = UNIX_EPOCH + since_1970().saturating_sub(ago);
        file.set_modified(ended).with_context(failed)?;
        for file in [signal, header] {
            std::fs::rename(aside.join(&file), folder.join(&file)).with_context(failed)?;
        }
        Ok(())
    }
}

/// The signal, row by row.
struct Rows {
    chance: Chance,
    beat: [i32; BEAT_MAX],
    at: usize,
    len: usize,
    wander: i32,
    rises: bool,
}

impl Rows {
    fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            beat: beat(),
            at: 0,
            len: BEAT_MAX,
            wander: 0,
            rises: true,
        }
    }

    fn next(&mut self) -> [i16; 3] {
        self.at += 1;
        if self.at >= self.len {
            self.at = 0;
            let len = self.chance.between((180, 240));
            self.len = usize::try_from(len).unwrap_or(BEAT_MAX);
        }
        if self.wander.abs() >= WANDER {
            self.rises = self.wander < 0;
        }
        self.wander += if self.rises { 1 } else { -1 };
        let count = self.beat.get(self.at).copied().unwrap_or_default();
        SIZES.map(|size| {
            let noise = i32::try_from(self.chance.below(7)).unwrap_or_default() - 3;
            let count = count * size / 100 + self.wander / 20 + noise;
            i16::try_from(count).unwrap_or_default()
        })
    }
}

/// One beat at 250 Hz and 200 counts per millivolt: P, Q, R, S and T as bells.
fn beat() -> [i32; BEAT_MAX] {
    const WAVES: [(f64, f64, f64); 5] = [
        (30.0, 6.0, 24.0),
        (56.0, 2.0, -30.0),
        (60.0, 2.5, 220.0),
        (64.0, 2.0, -50.0),
        (110.0, 12.0, 55.0),
    ];
    let mut beat = [0; BEAT_MAX];
    for (place, count) in (0_u32..).zip(&mut beat) {
        let at = f64::from(place);
        let bell = |(middle, width, height): (f64, f64, f64)| {
            height * (-((at - middle) / width).powi(2) / 2.0).exp()
        };
        let sum: f64 = WAVES.into_iter().map(bell).sum();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "a sum of bells stays within some hundred counts"
        )]
        let rounded = sum.round() as i32;
        *count = rounded;
    }
    beat
}

#[cfg(test)]
mod tests {
    use super::{Holter, Rows};

    #[test]
    fn a_recording_is_two_files_that_agree() {
        let folder = tempfile::tempdir().unwrap();
        let drop = folder.path().join("recorder");
        std::fs::create_dir(&drop).unwrap();
        let holter = Holter {
            hours: 1,
            seed: 7,
            ended_s_ago: 86_400,
        };
        holter.lie_in(&drop, "a").unwrap();
        let bytes = std::fs::metadata(drop.join("a.dat")).unwrap().len();
        assert_eq!(bytes, 3_600 * 250 * 3 * 2);
        let header = std::fs::read_to_string(drop.join("a.hea")).unwrap();
        assert!(
            header.starts_with("a 3 250 900000\na.dat 16 200 16 "),
            "{header}"
        );
    }

    #[test]
    fn recordings_of_two_seeds_differ_and_those_of_one_do_not() {
        let begin = |seed| {
            let mut rows = Rows::new(seed);
            [(); 400].map(|()| rows.next())
        };
        assert_eq!(begin(1), begin(1));
        assert_ne!(begin(1), begin(2));
    }
}
