//! What was captured and could not be kept, as one gap that grows until something is kept
//! again.

use cardio_core::gap::{Gap, GapCause};
use cardio_core::index::{SampleCount, SampleIndex};

/// A stretch of the time line that could not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed(Option<Gap>);

impl Missed {
    /// Samples that were not kept.
    pub fn add_samples(&mut self, first: SampleIndex, len: SampleCount) {
        self.add_gap(&Gap {
            from: first,
            len,
            uncertainty: SampleCount(0),
            cause: GapCause::NotStored,
        });
    }

    /// A gap that was not kept either; what lies between is part of the stretch.
    pub fn add_gap(&mut self, gap: &Gap) {
        let grown = match self.0.take() {
            None => Gap {
                cause: GapCause::NotStored,
                ..*gap
            },
            Some(before) => {
                let from = before.from.min(gap.from);
                let end = before.end().max(gap.end());
                Gap {
                    from,
                    len: end.since(from).unwrap_or_default(),
                    uncertainty: SampleCount(
                        before.uncertainty.0.saturating_add(gap.uncertainty.0),
                    ),
                    cause: GapCause::NotStored,
                }
            }
        };
        self.0 = Some(grown);
    }

    /// The stretch, if there is one.
    pub const fn get(&self) -> Option<Gap> {
        self.0
    }

    /// The stretch has been named where it will be kept.
    pub const fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Gap, GapCause, Missed, SampleCount, SampleIndex};

    #[test]
    fn refused_segments_and_the_gaps_between_them_are_one_stretch() {
        let mut missed = Missed::default();
        missed.add_samples(SampleIndex(250), SampleCount(250));
        missed.add_gap(&Gap {
            from: SampleIndex(500),
            len: SampleCount(30),
            uncertainty: SampleCount(2),
            cause: GapCause::FramesLost,
        });
        missed.add_samples(SampleIndex(530), SampleCount(220));
        let stretch = missed.get().unwrap();
        assert_eq!((stretch.from.0, stretch.end().0), (250, 750));
        assert_eq!(stretch.cause, GapCause::NotStored);
        assert_eq!(stretch.uncertainty.0, 2);
    }
}
