//! Counting samples: an instant, a span and a signed difference, which do not mix.

/// An instant on a lead's own time line: the number of samples before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleIndex(pub u64);

/// A span: how many samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleCount(pub u64);

/// A signed difference between two instants, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleOffset(pub i64);

impl SampleIndex {
    /// The instant `count` samples later; saturates at the end of time.
    #[must_use]
    pub const fn after(self, count: SampleCount) -> Self {
        Self(self.0.saturating_add(count.0))
    }

    /// The span from `earlier` to this instant, or `None` when it lies before.
    pub fn since(self, earlier: Self) -> Option<SampleCount> {
        self.0.checked_sub(earlier.0).map(SampleCount)
    }

    /// The signed difference `self - other`; saturates.
    pub fn offset_from(self, other: Self) -> SampleOffset {
        let wide = i128::from(self.0) - i128::from(other.0);
        SampleOffset(i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl SampleCount {
    /// The length of a slice, in samples.
    pub fn of<T>(samples: &[T]) -> Self {
        Self(u64::try_from(samples.len()).unwrap_or(u64::MAX))
    }

    /// As a length in memory; saturates on machines with small addresses.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether the span holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Display for SampleIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sample {}", self.0)
    }
}

impl std::fmt::Display for SampleCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sample(s)", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{SampleCount, SampleIndex, SampleOffset};

    #[test]
    fn an_instant_and_a_span_give_an_instant() {
        let end = SampleIndex(40).after(SampleCount(2));
        assert_eq!(end, SampleIndex(42));
        assert_eq!(end.since(SampleIndex(40)), Some(SampleCount(2)));
        assert_eq!(SampleIndex(40).since(end), None);
        assert_eq!(SampleIndex(40).offset_from(end), SampleOffset(-2));
    }
}
