//! Names for records and acquisitions. Chance is an argument, as time is.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, RecordId};
use cardio_wire::record::record_id;
use ring::rand::{SecureRandom, SystemRandom};

/// Where names come from.
pub trait Ids: Send {
    /// Ten bytes that nobody else has.
    fn random(&mut self) -> [u8; 10];

    /// The name of a record made at `at`.
    fn record(&mut self, at: UtcMicros) -> RecordId {
        record_id(at, self.random())
    }

    /// The name of an acquisition that begins at `at`.
    fn acquisition(&mut self, at: UtcMicros) -> AcquisitionId {
        AcquisitionId(record_id(at, self.random()).0)
    }
}

/// Names from the system's random numbers.
#[derive(Debug)]
pub struct RandomIds {
    system: SystemRandom,
    made: u64,
}

impl RandomIds {
    /// Ready to use.
    pub fn new() -> Self {
        Self {
            system: SystemRandom::new(),
            made: 0,
        }
    }
}

impl Default for RandomIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Ids for RandomIds {
    fn random(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.made = self.made.wrapping_add(1);
        if self.system.fill(&mut bytes).is_err() {
            // Linux's getrandom does not fail once it has been seeded. If it ever did, two
            // names of one process would still differ, and the chain orders the records.
            let [_, _, _, _, _, _, b6, b7] = self.made.to_be_bytes();
            bytes = [0, 0, 0, 0, 0, 0, 0, 0, b6, b7];
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, RandomIds, UtcMicros};

    #[test]
    fn two_names_differ() {
        let mut ids = RandomIds::new();
        assert_ne!(ids.record(UtcMicros(0)), ids.record(UtcMicros(0)));
        assert_ne!(ids.acquisition(UtcMicros(0)), ids.acquisition(UtcMicros(0)));
    }
}
