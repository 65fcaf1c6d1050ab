//! Samples that arrive in blocks: one row per waveform, runs kept apart by gaps.

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::recording::Run;
use cardio_core::sample::Adu;

/// The rows of one or more blocks, in the order of the recording's waveforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    rows: Vec<Row>,
}

/// One row: its finished runs, and where the next sample goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    at: SampleIndex,
    done: Vec<Run>,
    open: Option<Run>,
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

    /// Samples held now, over all rows.
    pub fn held(&self) -> u64 {
        self.rows
            .iter()
            .flat_map(|row| row.done.iter().chain(&row.open))
            .map(|run| SampleCount::of(&run.samples).0)
            .sum()
    }

    /// Hands over what has come and goes on at the same instants.
    pub fn take(&mut self) -> Vec<Vec<Run>> {
        self.rows
            .iter_mut()
            .map(|row| {
                let mut runs = std::mem::take(&mut row.done);
                runs.extend(row.open.take());
                runs
            })
            .collect()
    }
}

impl Rows {
    /// Shows what has come, row by row and run by run, and goes on at the same instants in
    /// the same memory.
    pub fn drain(&mut self, mut each: impl FnMut(usize, SampleIndex, &[Adu])) {
        for (position, row) in self.rows.iter_mut().enumerate() {
            for run in row.done.drain(..) {
                each(position, run.first, &run.samples);
            }
            if let Some(run) = &mut row.open {
                each(position, run.first, &run.samples);
                run.samples.clear();
                run.first = row.at;
            }
        }
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
            self.open_run().samples.reserve(count);
        }
    }

    /// Adds samples at the row's place.
    pub fn push(&mut self, samples: &[Adu]) {
        if samples.is_empty() {
            return;
        }
        self.open_run().samples.extend_from_slice(samples);
        self.at = self.at.after(SampleCount::of(samples));
    }

    /// Adds samples at the row's place as they are computed.
    pub(crate) fn extend(&mut self, samples: impl ExactSizeIterator<Item = Adu>) {
        let count = u64::try_from(samples.len()).unwrap_or(u64::MAX);
        if count > 0 {
            self.open_run().samples.extend(samples);
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

    /// Adds a finished run without copying it when nothing stands before it.
    pub(crate) fn adopt(&mut self, run: Run) {
        match run.first.since(self.at) {
            Some(ahead) if self.open.is_none() || !ahead.is_empty() => {
                self.skip(ahead);
                self.at = run.end();
                self.open = Some(run);
            }
            _ => self.place(run.first, &run.samples),
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

    /// Leaves a gap of this length. A gap at the end is kept as an empty run behind it.
    pub fn skip(&mut self, count: SampleCount) {
        if count.is_empty() {
            return;
        }
        self.at = self.at.after(count);
        self.done
            .extend(self.open.take().filter(|run| !run.samples.is_empty()));
        self.open = Some(Run {
            first: self.at,
            samples: Vec::new(),
        });
    }

    fn open_run(&mut self) -> &mut Run {
        self.open.get_or_insert_with(|| Run {
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
        assert_eq!(rows.held(), 0);
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
