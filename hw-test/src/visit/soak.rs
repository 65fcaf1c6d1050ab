//! Many mishaps in one visit: programs are killed at random instants, again and again.

use crate::chance::Chance;

use super::scenario::{Chaos, Scenario, Victim};

/// Shortest and longest time between two mishaps, in milliseconds.
const BETWEEN_MS: (u64, u64) = (1_200, 3_500);

/// Shortest and longest time until a killed program is started again, in milliseconds.
const BACK_MS: (u64, u64) = (0, 1_500);

/// A visit with `faults` kills at instants that follow from `seed`, and its length in seconds.
pub(crate) fn scenario(faults: u64, seed: u64) -> (Scenario, u64) {
    let mut chance = Chance::new(seed);
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
