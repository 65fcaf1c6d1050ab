//! Chance that a seed repeats: what happens in a rig follows from the number that it prints.

/// A small deterministic source of chance (SplitMix64, Steele and others 2014): a rig's
/// mishaps need no more.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Starts at `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`; 0 when there is nothing below.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below(most - least + 1)
    }
}

/// Things that are drawn one after another; every one comes before one comes again.
#[derive(Clone, Debug)]
pub(crate) struct Deck<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Clone> Deck<T> {
    /// A deck of these.
    pub(crate) const fn of(all: Vec<T>) -> Self {
        Self {
            all,
            left: Vec::new(),
        }
    }

    /// The next one; `None` where there are none.
    pub(crate) fn draw(&mut self, chance: &mut Chance) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let left = u64::try_from(self.left.len()).ok()?;
        let place = usize::try_from(chance.below(left)).ok()?;
        (place < self.left.len()).then(|| self.left.swap_remove(place))
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_repeats_and_another_does_not() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            [(); 8].map(|()| chance.between((10, 1_000)))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|drawn| (10..=1_000).contains(drawn)));
    }
}
