//! Spans of rhythm from the reference annotations.

use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;

use crate::data::seconds;

/// From and to, in seconds.
pub(crate) type Span = (f64, f64);

/// Atrial fibrillation and flutter of 30 s or more, from the rhythm marks.
pub(crate) fn fibrillation(recording: &Recording, rate: SamplingRate) -> Vec<Span> {
    let hz = rate.as_hz();
    let end = recording.waveforms[0].end().0;
    let mut all: Vec<Span> = Vec::new();
    let mut open: Option<f64> = None;
    let marks = recording.annotations.iter().filter(|mark| mark.code == "+");
    let changes = marks.map(|mark| {
        (
            seconds(mark.at.0, hz),
            mark.text.clone().unwrap_or_default(),
        )
    });
    for (at, text) in changes.chain([(seconds(end, hz), String::new())]) {
        let is = text.starts_with("(AFIB") || text.starts_with("(AFL");
        if !is && let Some(from) = open.take() {
            match all.last_mut() {
                Some(last) if from - last.1 < 5.0 => last.1 = at,
                _ => all.push((from, at)),
            }
        } else if is && open.is_none() {
            open = Some(at);
        }
    }
    all.retain(|(from, to)| to - from >= 30.0);
    all
}
