//! From what was measured to a verdict and the causes of a bad one.
//!
//! Deliberately absent: words for people, and anything that differs from patient to patient.

use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};

use crate::pcg::features::SoundFeatures;
use crate::pcg::model::QualityModel;

/// Shorter stretches cannot be judged: five seconds, in frames.
pub(crate) const MIN_FRAMES: u64 = 500;

/// Indices from which a stretch is good, and acceptable.
const GOOD: f64 = 0.65;
const ACCEPTABLE: f64 = 0.35;
/// Highest index of a stretch that one fault alone spoils.
const SPOILT: f64 = 0.2;

/// Heart sounds below this level drown in the converter's own steps: 3 counts.
const QUIET_DB: f64 = 9.5;
/// Clipping is named from this share of samples, and spoils the stretch from the second.
const CLIPPED: (f64, f64) = (0.001, 0.05);
/// No contact, or a converter that stands still.
const HELD: f64 = 0.5;
/// Share of half-second stretches with an impulse.
const IMPULSES: f64 = 0.04;
/// Movement of the hand: 5 to 20 Hz this much stronger than the heart sounds.
const MOVEMENT_DB: f64 = 10.0;
/// The room between beats, against the heart sounds' band.
const ROOM_DB: f64 = -10.0;
/// Envelopes less alike than this follow no beat.
const ALIKE: f64 = 0.25;

/// Index, verdict and causes of a stretch of so many frames.
pub(crate) fn judge(model: &QualityModel, features: &SoundFeatures, frames: u64) -> LeadQuality {
    let index = model.index(features);
    let mut causes = Vec::new();
    let mut spoilt = false;
    let mut name = |cause, applies: bool, spoils: bool| {
        if applies {
            causes.push(cause);
            spoilt |= spoils;
        }
    };
    let clipped = features.clipped_share;
    name(QualityCause::Flat, features.held_share > HELD, true);
    name(
        QualityCause::Saturation,
        clipped > CLIPPED.0,
        clipped > CLIPPED.1,
    );
    name(QualityCause::TooShort, frames < MIN_FRAMES, true);
    name(QualityCause::TooQuiet, features.level_db < QUIET_DB, true);
    let judged = frames >= MIN_FRAMES;
    let moved = features.impulse_share > IMPULSES || features.low_db > MOVEMENT_DB;
    name(QualityCause::Friction, judged && moved, false);
    // The room is always there; it is a cause where it is heard.
    let room = features.ambient_db > ROOM_DB && index < GOOD;
    name(QualityCause::Ambient, judged && room, false);
    let rhythmless = judged && features.periodicity < ALIKE;
    name(QualityCause::NoRhythm, rhythmless, false);
    let verdict = match index {
        _ if spoilt => QualityVerdict::Insufficient,
        // Sounds that stand out without a rhythm can be heard, and no more.
        index if index >= GOOD && rhythmless => QualityVerdict::Acceptable,
        index if index >= GOOD => QualityVerdict::Good,
        index if index >= ACCEPTABLE && !rhythmless => QualityVerdict::Acceptable,
        _ => QualityVerdict::Insufficient,
    };
    if causes.is_empty() && verdict == QualityVerdict::Insufficient {
        causes.push(QualityCause::Noise);
    }
    LeadQuality {
        index: SignalQualityIndex::clamped(if spoilt { index.min(SPOILT) } else { index }),
        verdict,
        causes,
    }
}
