//! Samples that arrive in blocks: one row per waveform, stretches kept apart by gaps.
//!
//! A block is small and its memory is used again; what many blocks bring is kept by
//! [`Gathered`], in samples as wide as they need.

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::recording::Run;
use cardio_core::sample::Adu;
use cardio_core::samples::Samples;

/// The rows of one or more blocks, in the order of the recording's waveforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    rows: Vec<Row>,
}

/// One row: its finished stretches, and where the next sample goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    at: SampleIndex,
    done: Vec<Stretch>,
    open: Option<Stretch>,
}

/// Contiguous samples of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    first: SampleIndex,
    samples: Vec<Adu>,
}

impl Rows {
    /// So many empty rows, at the start of time.
    pub fn new(count: usize) -> Self {
        Self {
            rows: vec![Row::default(); count],
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of a waveform.
    pub fn row(&mut self, position: usize) -> Option<&mut Row> {
        self.rows.get_mut(position)
    }

    /// Hands over what has come and goes on at the same instants.
    pub fn take(&mut self) -> Vec<Vec<Run>> {
        let mut gathered = Gathered::new(self.len());
        gathered.add(self);
        gathered.into_runs()
    }

    /// Shows what has come, row by row and stretch by stretch, and goes on at the same instants
    /// in the same memory.
    pub fn drain(&mut self, mut each: impl FnMut(usize, SampleIndex, &[Adu])) {
        for (position, row) in self.rows.iter_mut().enumerate() {
            for stretch in row.done.drain(..) {
                each(position, stretch.first, &stretch.samples);
            }
            if let Some(stretch) = &mut row.open {
                each(position, stretch.first, &stretch.samples);
                stretch.samples.clear();
                stretch.first = row.at;
            }
        }
    }
}

/// The runs of a recording, as its blocks come.
#[derive(Debug)]
pub(crate) struct Gathered {
    rows: Vec<Vec<Run>>,
    held: u64,
}

impl Gathered {
    /// So many rows without samples.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            rows: vec![Vec::new(); count],
            held: 0,
        }
    }

    /// Room for `count` samples of an empty row, so that it does not grow step by step.
    pub(crate) fn reserve(&mut self, position: usize, count: usize) {
        if let Some(runs) = self.rows.get_mut(position).filter(|runs| runs.is_empty()) {
            let mut samples = Samples::new();
            samples.reserve(count);
            runs.push(Run {
                first: SampleIndex(0),
                samples,
            });
        }
    }

    /// Takes what a block holds.
    pub(crate) fn add(&mut self, block: &mut Rows) {
        block.drain(|position, first, samples| {
            self.held = self.held.saturating_add(SampleCount::of(samples).0);
            let Some(runs) = self.rows.get_mut(position) else {
                return;
            };
            match runs.last_mut() {
                Some(run) if run.end() == first => run.samples.extend_from_slice(samples),
                Some(run) if run.is_empty() => {
                    run.first = first;
                    run.samples.extend_from_slice(samples);
                }
                _ => runs.push(Run {
                    first,
                    samples: samples.into(),
                }),
            }
        });
    }

    /// Samples held now, over all rows.
    pub(crate) const fn held(&self) -> u64 {
        self.held
    }

    /// The runs of every row. An empty one tells of a gap at the end.
    pub(crate) fn into_runs(mut self) -> Vec<Vec<Run>> {
        for runs in &mut self.rows {
            runs.retain(|run| !run.is_empty() || run.first > SampleIndex(0));
        }
        self.rows
    }
}

impl Row {
    /// Where the next sample goes.
    pub const fn at(&self) -> SampleIndex {
        self.at
    }

    /// Room for `count` samples more, so that a long row does not grow step by step.
    pub fn reserve(&mut self, count: usize) {
        if count > 0 {
            self.open_stretch().samples.reserve(count);
        }
    }

    /// Adds samples at the row's place.
    pub fn push(&mut self, samples: &[Adu]) {
        if samples.is_empty() {
            return;
        }
        self.open_stretch().samples.extend_from_slice(samples);
        self.at = self.at.after(SampleCount::of(samples));
    }

    /// Adds samples at the row's place as they are computed.
    pub(crate) fn extend(&mut self, samples: impl ExactSizeIterator<Item = Adu>) {
        let count = u64::try_from(samples.len()).unwrap_or(u64::MAX);
        if count > 0 {
            self.open_stretch().samples.extend(samples);
            self.at = self.at.after(SampleCount(count));
        }
    }

    /// Adds samples at an instant that does not lie before the row's place; what lies
    /// between becomes a gap. Samples from before the place are left out.
    pub fn place(&mut self, first: SampleIndex, samples: &[Adu]) {
        match first.since(self.at) {
            Some(ahead) => {
                self.skip(ahead);
                self.push(samples);
            }
            None => {
                let late = self.at.since(first).map_or(0, SampleCount::len);
                self.push(samples.get(late..).unwrap_or_default());
            }
        }
    }

    /// Adds samples of which one value means "absent".
    pub fn push_with_missing(&mut self, samples: &[Adu], missing: Option<Adu>) {
        match missing {
            Some(missing) if samples.contains(&missing) => {
                for part in samples.chunk_by(|a, b| (*a == missing) == (*b == missing)) {
                    if part.first() == Some(&missing) {
                        self.skip(SampleCount::of(part));
                    } else {
                        self.push(part);
                    }
                }
            }
            _ => self.push(samples),
        }
    }

    /// Leaves a gap of this length. A gap at the end is told by an empty stretch behind it.
    pub fn skip(&mut self, count: SampleCount) {
        if count.is_empty() {
            return;
        }
        self.at = self.at.after(count);
        self.done
            .extend(self.open.take().filter(|open| !open.samples.is_empty()));
        self.open = Some(Stretch {
            first: self.at,
            samples: Vec::new(),
        });
    }

    fn open_stretch(&mut self) -> &mut Stretch {
        self.open.get_or_insert_with(|| Stretch {
            first: self.at,
            samples: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use cardio_core::index::{SampleCount, SampleIndex};

    #[test]
    fn an_absent_value_splits_a_row_into_runs() {
        let mut rows = Rows::new(1);
        let row = rows.row(0).unwrap();
        row.push_with_missing(&[1, 2, -9, -9, 3], Some(-9));
        row.push(&[4]);
        let runs = rows.take().remove(0);
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[1].first, SampleIndex(4));
        assert_eq!(runs[1].samples, [3, 4]);
    }

    #[test]
    fn a_gap_at_the_end_is_still_told() {
        let mut rows = Rows::new(1);
        let row = rows.row(0).unwrap();
        row.push(&[1]);
        row.skip(SampleCount(3));
        row.skip(SampleCount(2));
        let runs = rows.take().remove(0);
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[1].end(), SampleIndex(6));
    }

    #[test]
    fn after_a_drain_the_row_goes_on_where_it_was() {
        let mut rows = Rows::new(1);
        rows.row(0).unwrap().push(&[1, 2]);
        rows.row(0).unwrap().skip(SampleCount(3));
        rows.row(0).unwrap().push(&[9]);
        let mut seen = Vec::new();
        rows.drain(|row, first, samples| seen.push((row, first.0, samples.to_vec())));
        assert_eq!(seen, [(0, 0, vec![1, 2]), (0, 5, vec![9])]);
        rows.row(0).unwrap().push(&[3]);
        assert_eq!(rows.take()[0][0].first, SampleIndex(6));
    }

    #[test]
    fn after_a_take_the_row_goes_on_where_it_was() {
        let mut rows = Rows::new(1);
        rows.row(0).unwrap().push(&[1, 2]);
        rows.take();
        rows.row(0).unwrap().push(&[3]);
        assert_eq!(rows.take()[0][0].first, SampleIndex(2));
    }
}
