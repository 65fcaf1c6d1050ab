//! The last stretch of a signal, by absolute position.

use crate::num;

/// Keeps the newest `2^n` values; older or later places read as zero.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    values: Vec<f64>,
    mask: u64,
    end: u64,
}

impl Ring {
    /// A ring that keeps at least `length` values.
    pub(crate) fn new(length: usize) -> Self {
        let size = length.next_power_of_two();
        Self {
            values: vec![0.0; size],
            mask: num::count(size - 1),
            end: 0,
        }
    }

    /// The position after the newest value.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn push(&mut self, value: f64) {
        if let Some(place) = self.values.get_mut(place(self.end, self.mask)) {
            *place = value;
        }
        self.end += 1;
    }

    /// The value at a position.
    pub(crate) fn at(&self, position: u64) -> f64 {
        // Later places wrap around to more than any length.
        if self.end.wrapping_sub(position).wrapping_sub(1) > self.mask {
            return 0.0;
        }
        self.values
            .get(place(position, self.mask))
            .copied()
            .unwrap_or(0.0)
    }

    /// Forgets the values and starts again at position zero.
    pub(crate) const fn clear(&mut self) {
        self.end = 0;
    }
}

fn place(position: u64, mask: u64) -> usize {
    usize::try_from(position & mask).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn the_newest_values_are_held_and_older_ones_read_as_zero() {
        let mut ring = Ring::new(3);
        for value in 1..=6 {
            ring.push(f64::from(value));
        }
        assert_eq!(ring.end(), 6);
        assert_eq!(
            (ring.at(1), ring.at(2), ring.at(5), ring.at(6)),
            (0.0, 3.0, 6.0, 0.0)
        );
        assert_eq!(ring.at(u64::MAX), 0.0);
    }
}
