//! Many samples in the memory that they need: two bytes each where all of them fit, four where
//! one does not.
//!
//! A day of Holter is hundreds of megabytes, and what reading it costs is above all the memory
//! that it touches. Deliberately absent: changing samples, and taking any away.

use crate::sample::Adu;

/// Samples in time order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples(Store);

/// Wide only where a sample needs it, so that equal samples are stored equally.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Store {
    Narrow(Vec<i16>),
    Wide(Vec<Adu>),
}

/// A stretch of [`Samples`].
#[derive(Clone, Copy, Debug)]
pub struct SampleSlice<'a>(View<'a>);

#[derive(Clone, Copy, Debug)]
enum View<'a> {
    Narrow(&'a [i16]),
    Wide(&'a [Adu]),
}

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// None.
    pub const fn new() -> Self {
        Self(Store::Narrow(Vec::new()))
    }

    /// Room for `count` samples more, if none of them is wider than those before.
    pub fn reserve(&mut self, count: usize) {
        match &mut self.0 {
            Store::Narrow(narrow) => narrow.reserve(count),
            Store::Wide(wide) => wide.reserve(count),
        }
    }

    /// Adds samples behind the last.
    pub fn extend_from_slice(&mut self, samples: &[Adu]) {
        match &mut self.0 {
            Store::Wide(wide) => wide.extend_from_slice(samples),
            Store::Narrow(narrow) => {
                let before = narrow.len();
                let mut beyond = 0;
                narrow.extend(samples.iter().map(|sample| {
                    beyond |= sample.wrapping_sub(i32::from(i16::MIN)).cast_unsigned() >> 16;
                    low_half(*sample)
                }));
                if beyond != 0 {
                    narrow.truncate(before);
                    let mut wide = Vec::with_capacity(narrow.capacity());
                    wide.extend(narrow.iter().map(|sample| Adu::from(*sample)));
                    wide.extend_from_slice(samples);
                    self.0 = Store::Wide(wide);
                }
            }
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> SampleSlice<'_> {
        SampleSlice(match &self.0 {
            Store::Narrow(narrow) => View::Narrow(narrow),
            Store::Wide(wide) => View::Wide(wide),
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at a place, counted from the first.
    pub fn get(&self, at: usize) -> Option<Adu> {
        self.as_slice().get(at)
    }

    /// One after another.
    pub fn iter(&self) -> Iter<'_> {
        self.as_slice().iter()
    }
}

fn low_half(sample: Adu) -> i16 {
    let [low, high, ..] = sample.to_le_bytes();
    i16::from_le_bytes([low, high])
}

impl From<&[Adu]> for Samples {
    fn from(samples: &[Adu]) -> Self {
        let mut kept = Self::new();
        kept.extend_from_slice(samples);
        kept
    }
}

impl From<Vec<Adu>> for Samples {
    fn from(samples: Vec<Adu>) -> Self {
        Self::from(samples.as_slice())
    }
}

impl FromIterator<Adu> for Samples {
    fn from_iter<I: IntoIterator<Item = Adu>>(samples: I) -> Self {
        Self::from(samples.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a Samples {
    type Item = Adu;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Default for SampleSlice<'_> {
    fn default() -> Self {
        Self(View::Narrow(&[]))
    }
}

impl<'a> SampleSlice<'a> {
    /// How many.
    pub const fn len(self) -> usize {
        match self.0 {
            View::Narrow(narrow) => narrow.len(),
            View::Wide(wide) => wide.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The sample at a place, counted from the first.
    pub fn get(self, at: usize) -> Option<Adu> {
        match self.0 {
            View::Narrow(narrow) => narrow.get(at).map(|sample| Adu::from(*sample)),
            View::Wide(wide) => wide.get(at).copied(),
        }
    }

    /// The samples from one place to just before another, or `None` when they are not all there.
    pub fn part(self, places: std::ops::Range<usize>) -> Option<Self> {
        Some(Self(match self.0 {
            View::Narrow(narrow) => View::Narrow(narrow.get(places)?),
            View::Wide(wide) => View::Wide(wide.get(places)?),
        }))
    }

    /// One after another.
    pub fn iter(self) -> Iter<'a> {
        Iter(match self.0 {
            View::Narrow(narrow) => Each::Narrow(narrow.iter()),
            View::Wide(wide) => Each::Wide(wide.iter()),
        })
    }

    /// Stretches of `count` samples, and the rest; of one sample, when `count` is 0.
    pub fn chunks(self, count: usize) -> impl Iterator<Item = Self> {
        let count = count.max(1);
        let starts = (0..self.len()).step_by(count);
        starts.filter_map(move |from| self.part(from..self.len().min(from.saturating_add(count))))
    }

    /// A copy for whoever computes with them; long recordings are better taken in
    /// [`SampleSlice::chunks`].
    pub fn to_vec(self) -> Vec<Adu> {
        match self.0 {
            View::Narrow(narrow) => narrow.iter().map(|sample| Adu::from(*sample)).collect(),
            View::Wide(wide) => wide.to_vec(),
        }
    }
}

impl<const N: usize> PartialEq<[Adu; N]> for SampleSlice<'_> {
    fn eq(&self, other: &[Adu; N]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

impl<const N: usize> PartialEq<[Adu; N]> for Samples {
    fn eq(&self, other: &[Adu; N]) -> bool {
        self.as_slice() == *other
    }
}

/// Samples one after another.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Each<'a>);

#[derive(Clone, Debug)]
enum Each<'a> {
    Narrow(std::slice::Iter<'a, i16>),
    Wide(std::slice::Iter<'a, Adu>),
}

impl Iterator for Iter<'_> {
    type Item = Adu;

    fn next(&mut self) -> Option<Adu> {
        match &mut self.0 {
            Each::Narrow(narrow) => narrow.next().map(|sample| Adu::from(*sample)),
            Each::Wide(wide) => wide.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Each::Narrow(narrow) => narrow.size_hint(),
            Each::Wide(wide) => wide.size_hint(),
        }
    }

    fn fold<B, F: FnMut(B, Adu) -> B>(self, first: B, mut each: F) -> B {
        match self.0 {
            Each::Narrow(narrow) => narrow.fold(first, |sum, sample| each(sum, Adu::from(*sample))),
            Each::Wide(wide) => wide.fold(first, |sum, sample| each(sum, *sample)),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::{Samples, Store};
    use proptest::prelude::*;

    fn bytes_each(samples: &Samples) -> usize {
        match samples.0 {
            Store::Narrow(_) => 2,
            Store::Wide(_) => 4,
        }
    }

    #[test]
    fn samples_of_sixteen_bits_take_two_bytes_until_a_wider_one_comes() {
        let mut samples = Samples::from(vec![-32_768, 0, 32_767]);
        assert_eq!(bytes_each(&samples), 2);
        samples.extend_from_slice(&[1, 32_768]);
        assert_eq!(bytes_each(&samples), 4);
        assert_eq!(samples, [-32_768, 0, 32_767, 1, 32_768]);
    }

    #[test]
    fn a_part_that_is_not_all_there_is_none() {
        let samples = Samples::from(vec![1, 2, 3]);
        assert_eq!(samples.as_slice().part(1..3).unwrap(), [2, 3]);
        assert!(samples.as_slice().part(1..4).is_none());
    }

    fn any_sample() -> impl Strategy<Value = i32> {
        prop_oneof![
            8 => any::<i16>().prop_map(i32::from),
            1 => -32_770..=-32_766,
            1 => 32_765..=32_770,
            1 => any::<i32>(),
        ]
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out_however_it_came(
            blocks in proptest::collection::vec(proptest::collection::vec(any_sample(), 0..9), 0..9),
            count in 0..9_usize,
        ) {
            let mut samples = Samples::new();
            blocks.iter().for_each(|block| samples.extend_from_slice(block));
            let all = blocks.concat();
            prop_assert_eq!(samples.len(), all.len());
            prop_assert_eq!(samples.as_slice().to_vec(), all.as_slice());
            prop_assert_eq!(samples.iter().len(), all.len());
            prop_assert_eq!(samples.iter().collect::<Vec<_>>(), all.as_slice());
            prop_assert_eq!(samples.iter().map(i64::from).sum::<i64>(), all.iter().copied().map(i64::from).sum::<i64>());
            let apart: Vec<Vec<i32>> = samples.as_slice().chunks(count).map(super::SampleSlice::to_vec).collect();
            let want: Vec<Vec<i32>> = all.chunks(count.max(1)).map(<[i32]>::to_vec).collect();
            prop_assert_eq!(apart, want);
            for at in 0..=all.len() {
                prop_assert_eq!(samples.get(at), all.get(at).copied());
            }
            prop_assert_eq!(&samples, &Samples::from(all));
        }
    }
}
