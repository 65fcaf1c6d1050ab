//! Many mishaps in one visit: programs are killed at random instants, again and again.

use super::scenario::{Chaos, Scenario, Victim};

/// Shortest and longest time between two mishaps, in milliseconds.
const BETWEEN_MS: (u64, u64) = (1_200, 3_500);

/// Shortest and longest time until a killed program is started again, in milliseconds.
const BACK_MS: (u64, u64) = (0, 1_500);

/// A visit with `faults` kills at instants that follow from `seed`, and its length in seconds.
pub(crate) fn scenario(faults: u64, seed: u64) -> (Scenario, u64) {
    let mut chance = Chance(seed);
    let mut chaos = Vec::new();
    let mut at_ms = 3_000;
    for _ in 0..faults {
        let back_after_ms = chance.between(BACK_MS);
        let kill = match chance.below(3) {
            0 => Victim::Agent,
            1 => Victim::Gateway,
            _ => Victim::Both,
        };
        chaos.push(Chaos {
            at_ms,
            kill,
            back_after_ms,
        });
        at_ms += back_after_ms + chance.between(BETWEEN_MS);
    }
    let scenario = Scenario {
        about: format!("{faults} kills at random instants, seed {seed}"),
        sim: "calm".to_owned(),
        alerts: Vec::new(),
        chaos,
    };
    (scenario, at_ms / 1_000 + 5)
}

/// A small deterministic source of chance (SplitMix64, Steele and others 2014): a rig's
/// mishaps need no more.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or_default()
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.below(most - least + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::scenario;

    #[test]
    fn the_same_seed_gives_the_same_mishaps_and_another_seed_others() {
        let instants = |seed| {
            let (scenario, _) = scenario(20, seed);
            scenario
                .chaos
                .iter()
                .map(|event| event.at_ms)
                .collect::<Vec<_>>()
        };
        assert_eq!(instants(7), instants(7));
        assert_ne!(instants(7), instants(8));
        assert!(instants(7).is_sorted());
    }

    #[test]
    fn a_visit_is_longer_than_its_last_mishap() {
        let (scenario, seconds) = scenario(50, 1);
        assert_eq!(scenario.chaos.len(), 50);
        assert!(
            scenario
                .chaos
                .iter()
                .all(|event| event.at_ms / 1_000 < seconds)
        );
    }
}
