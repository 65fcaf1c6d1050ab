//! Walking a chain: every frame signed, in its place, and naming the one before it.
//!
//! For `outbox verify` and `chain verify` alike. Deliberately absent: where the frames come
//! from, and opening them.

use crate::envelope::{self, FrameError, FrameHeader, NO_PREVIOUS};
use crate::keys::VerifyingKey;
use crate::lane::FrameIdentity;

/// Why a frame does not continue a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// It is not a frame signed by the box.
    #[error("the frame after {after} frame(s) cannot be verified")]
    Frame {
        /// How many frames were in order before it.
        after: u64,
        /// What is wrong with it.
        source: FrameError,
    },
    /// It belongs to another box, lane or chain.
    #[error("{found} does not belong to the chain that is walked")]
    Other {
        /// Which frame it is.
        found: FrameIdentity,
    },
    /// Frames are missing before it, or it comes again.
    #[error("{found} follows where frame {expected} is expected")]
    Place {
        /// Which frame it is.
        found: FrameIdentity,
        /// The number that comes next.
        expected: u64,
    },
    /// It names another frame as the one before it.
    #[error("{found} names another frame as the one before it")]
    Link {
        /// Which frame it is.
        found: FrameIdentity,
    },
}

impl ChainError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Frame { .. } => "chain.frame",
            Self::Other { .. } => "chain.other",
            Self::Place { .. } => "chain.place",
            Self::Link { .. } => "chain.link",
        }
    }
}

/// A stretch of one chain that was walked without a fault.
#[derive(Clone, Debug)]
pub struct ChainWalk {
    key: VerifyingKey,
    first: Option<FrameHeader>,
    last: Option<(FrameIdentity, [u8; 32])>,
    frames: u64,
}

impl ChainWalk {
    /// Begins before any frame; the first one may have any place.
    pub const fn new(key: VerifyingKey) -> Self {
        Self {
            key,
            first: None,
            last: None,
            frames: 0,
        }
    }

    /// Takes the next frame. After an error the walk stands where it stood.
    ///
    /// # Errors
    /// [`ChainError`] when the frame does not continue the chain.
    pub fn step(&mut self, frame: &[u8]) -> Result<FrameHeader, ChainError> {
        let after = self.frames;
        let verified = envelope::verify(frame, &self.key)
            .map_err(|source| ChainError::Frame { after, source })?;
        let header = verified.header;
        let found = header.identity();
        if let Some((last, head)) = self.last {
            let expected = FrameIdentity {
                seq: last.seq.saturating_add(1),
                ..last
            };
            if (FrameIdentity { seq: 0, ..found }) != (FrameIdentity { seq: 0, ..last }) {
                return Err(ChainError::Other { found });
            }
            if found != expected {
                let expected = expected.seq;
                return Err(ChainError::Place { found, expected });
            }
            if header.prev != head {
                return Err(ChainError::Link { found });
            }
        } else if (found.seq == 1) != (header.prev == NO_PREVIOUS) {
            return Err(ChainError::Link { found });
        }
        self.first.get_or_insert(header);
        self.last = Some((found, verified.fingerprint));
        self.frames += 1;
        Ok(header)
    }

    /// The header of the first frame.
    pub const fn first(&self) -> Option<&FrameHeader> {
        self.first.as_ref()
    }

    /// The last frame and its fingerprint.
    pub const fn last(&self) -> Option<&(FrameIdentity, [u8; 32])> {
        self.last.as_ref()
    }

    /// How many frames were walked.
    pub const fn frames(&self) -> u64 {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::{ChainError, ChainWalk, NO_PREVIOUS};
    use crate::envelope::{FrameHeader, SUITE_X25519_CHACHA, fingerprint, seal};
    use crate::keys::{RecipientSecretKey, SigningKey};
    use crate::lane::{ChainId, Lane};
    use cardio_core::ids::BoxId;
    use ring::rand::SystemRandom;

    struct Maker {
        signer: SigningKey,
        to: crate::keys::RecipientPublicKey,
    }

    impl Maker {
        fn new() -> Self {
            let rng = SystemRandom::new();
            Self {
                signer: SigningKey::generate(&rng).unwrap().0,
                to: RecipientSecretKey::generate(&rng).unwrap().public(),
            }
        }

        fn frame(&self, chain: u8, seq: u64, prev: [u8; 32]) -> Vec<u8> {
            let header = FrameHeader {
                suite: SUITE_X25519_CHACHA,
                recipient: self.to.key_id(),
                device: BoxId([1; 16]),
                lane: Lane::Log,
                chain: ChainId([chain; 8]),
                seq,
                prev,
            };
            seal(b"x", &header, &self.to, &self.signer).unwrap()
        }

        fn walk(&self) -> ChainWalk {
            ChainWalk::new(self.signer.verifying_key())
        }
    }

    #[test]
    fn frames_that_name_each_other_are_a_chain() {
        let maker = Maker::new();
        let mut walk = maker.walk();
        let mut prev = NO_PREVIOUS;
        for seq in 1..5 {
            let frame = maker.frame(1, seq, prev);
            assert_eq!(walk.step(&frame).unwrap().seq, seq);
            prev = fingerprint(&frame);
        }
        assert_eq!(walk.frames(), 4);
        assert_eq!(walk.first().unwrap().seq, 1);
        assert_eq!(walk.last().unwrap().1, prev);
    }

    #[test]
    fn a_walk_may_begin_in_the_middle() {
        let maker = Maker::new();
        assert!(maker.walk().step(&maker.frame(1, 7, [3; 32])).is_ok());
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let maker = Maker::new();
        let mut walk = maker.walk();
        let first = maker.frame(1, 5, [3; 32]);
        walk.step(&first).unwrap();
        let prev = fingerprint(&first);
        let mut code = |frame: &[u8]| walk.step(frame).unwrap_err().code();
        assert_eq!(code(&first), "chain.place");
        assert_eq!(code(&maker.frame(1, 7, prev)), "chain.place");
        assert_eq!(code(&maker.frame(2, 6, prev)), "chain.other");
        assert_eq!(code(&maker.frame(1, 6, [9; 32])), "chain.link");
        assert_eq!(code(&Maker::new().frame(1, 6, prev)), "chain.frame");
        assert!(walk.step(&maker.frame(1, 6, prev)).is_ok());
    }

    #[test]
    fn an_error_names_the_frame_and_what_was_expected() {
        let maker = Maker::new();
        let mut walk = maker.walk();
        walk.step(&maker.frame(1, 5, [3; 32])).unwrap();
        let err = walk.step(&maker.frame(1, 9, [3; 32])).unwrap_err();
        assert!(matches!(err, ChainError::Place { expected: 6, .. }));
        assert!(
            err.to_string()
                .ends_with("/9 follows where frame 6 is expected")
        );
    }
}
