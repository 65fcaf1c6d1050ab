//! Numbers of the signal: filters, R peaks, rhythm, signal quality, synthesis.
//!
//! Everything streams: samples go in, in blocks of any size, and the same answers come out
//! with memory that does not grow. The same samples give the same bits on every
//! architecture. Deliberately absent: IO, clocks, files, alert limits, words for people.
//!
//! | module | holds |
//! | --- | --- |
//! | [`qrs`] | R peaks of one lead |
//! | [`beat`] | beats of one lead with their classes |
//! | [`delineation`] | where waves begin and end: PR, QRS, QT, ST |
//! | [`rhythm`] | heart rate and rhythm from beats |
//! | [`sqi`] | how good the signal is, and what to fix first |
//! | [`limbs`] | whether limb electrodes look swapped |
//! | [`assess`] | quality and heart rate second by second, as a recording comes |
//! | [`analyse`] | all of it over a whole recording |
//! | [`pcg`] | heart sounds: quality, rate, first and second sound |
//! | [`forest`] | learnt functions as reviewed data |
//! | [`synth`] | a synthetic 12-lead ECG with seeded faults |

pub mod analyse;
pub mod assess;
pub mod beat;
pub mod delineation;
pub mod forest;
pub mod limbs;
pub mod pcg;
pub mod qrs;
pub mod rhythm;
pub mod sqi;
pub mod synth;

mod filter;
mod num;
mod ring;

/// Millivolts in a count; a gain that is no number or zero counts as 1000 adu/mV.
pub(crate) fn mv_per_adu(gain_adu_per_mv: f64) -> f64 {
    let usable = gain_adu_per_mv.is_finite() && (1e-9..1e15).contains(&gain_adu_per_mv.abs());
    if usable { 1.0 / gain_adu_per_mv } else { 0.001 }
}
