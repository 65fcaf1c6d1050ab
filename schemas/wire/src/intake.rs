//! The gateway's side of the exchange: what becomes of a frame that arrives, how far a lane
//! is stored, and how a hello is answered. The counterpart of [`crate::link`].
//!
//! - Identity of a frame is (box, lane, chain, number). The same identity with another
//!   fingerprint is kept beside the first and never acknowledged.
//! - A lane stands at the last frame before the first hole, and moves only along matching
//!   hashes: a frame whose `prev` is not the fingerprint before it stops the lane.
//! - What is held of a chain and does not fit what came (another frame at a place, a stored
//!   frame behind the lane's head that does not follow from it, the word that the chain has
//!   ended) is said with the acknowledgement: a box that sees that its card forgot begins new
//!   chains, and carries what it still has over in them.
//! - Of a chain that has ended nothing more is made: its lane goes on over every hole and over
//!   a hash that does not match, which stays known, so that all that is stored is filed.
//! - A hole that the box will not fill (its hello says that it no longer has the frames, or a
//!   signed gap record names them) is noted as missing, and the lane goes on behind it. A
//!   missing frame that comes after all is taken, if it fits its neighbours.
//! - What a box believes acknowledged and the gateway does not hold is asked for again: the
//!   gateway was restored from an older copy.
//!
//! The decisions read and write through [`Holdings`], so that they hold over a database and
//! over [`MemoryHoldings`] alike. Deliberately absent: signatures (checked before), opening
//! frames, time, and what an acknowledgement looks like.

mod ack;
mod memory;
mod walk;

use cardio_core::ids::BoxId;

use crate::envelope::NO_PREVIOUS;
use crate::lane::{ChainId, FrameIdentity, Lane};
use crate::message::{LaneState, OtherHistory};
use walk::{advance, last_stored, misfit, note_missing, split};

pub use ack::{AckPace, AckPlan, DueAck};
pub use memory::MemoryHoldings;

/// How far a frame's number may lie beyond the last one before the first hole.
pub const AHEAD_MAX: u64 = 65_536;
/// Chains of one lane of a box that have not ended; a box starts a new one when its database
/// is new.
pub const CHAINS_MAX: u64 = 64;
/// The greatest number of a frame: 34 years at a thousand frames a second.
pub const SEQ_MAX: u64 = 1 << 40;
/// Stored frames that are read at once to follow a chain.
const LINKS_AT_ONCE: usize = 256;

/// One chain of one lane of one box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// The box.
    pub device: BoxId,
    /// Its lane.
    pub lane: Lane,
    /// The life of the lane's database.
    pub chain: ChainId,
}

impl ChainKey {
    /// The chain of a frame.
    pub const fn of(identity: &FrameIdentity) -> Self {
        Self {
            device: identity.device,
            lane: identity.lane,
            chain: identity.chain,
        }
    }

    /// The frame of that number.
    pub const fn frame(&self, seq: u64) -> FrameIdentity {
        FrameIdentity {
            device: self.device,
            lane: self.lane,
            chain: self.chain,
            seq,
        }
    }
}

/// How far a lane is stored without holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHead {
    /// The lane.
    pub lane: Lane,
    /// The chain.
    pub chain: ChainId,
    /// The last frame before the first hole; 0 when there is none.
    pub upto: u64,
    /// Its fingerprint, zeros at 0; `None` when that frame was never received.
    pub head: Option<[u8; 32]>,
    /// The first frame whose hash does not match the one before it.
    pub broken_at: Option<u64>,
    /// No frame of the chain will be made any more: the box said so in a signed gap record, or
    /// carries frames of it over into a newer chain.
    pub ended: bool,
}

impl LaneHead {
    /// Where a chain begins.
    pub const fn start(lane: Lane, chain: ChainId) -> Self {
        Self {
            lane,
            chain,
            upto: 0,
            head: Some(NO_PREVIOUS),
            broken_at: None,
            ended: false,
        }
    }
}

/// What ties a frame to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its place in the chain.
    pub seq: u64,
    /// Fingerprint of the frame before it.
    pub prev: [u8; 32],
    /// Its own fingerprint.
    pub fingerprint: [u8; 32],
}

impl Link {
    const fn as_other(self) -> OtherHistory {
        OtherHistory::Frame {
            seq: self.seq,
            fingerprint: self.fingerprint,
        }
    }
}

/// A frame whose signature was verified.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Which frame it is.
    pub identity: FrameIdentity,
    /// Fingerprint of the frame before it.
    pub prev: [u8; 32],
    /// Its own fingerprint.
    pub fingerprint: [u8; 32],
    /// The whole frame.
    pub frame: &'a [u8],
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored now.
    New,
    /// It was stored before.
    Duplicate,
    /// Another frame of its identity was stored before, or it does not fit the frames on
    /// either side of the hole that it would fill. Kept aside.
    Conflict,
    /// Its number lies too far beyond where the lane stands.
    TooFarAhead,
    /// The box has started too many chains in this lane.
    TooManyChains,
}

/// What became of a frame, and where its lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What became of it.
    pub stored: Stored,
    /// Where the lane stands.
    pub head: LaneHead,
    /// What is held of the chain that does not fit what came.
    pub other: Option<OtherHistory>,
}

/// How a gateway answers what a hello says of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Where the lane stands here.
    pub head: LaneHead,
    /// The box believes more acknowledged than is stored here: it must send again from there,
    /// and name in a signed gap record what it no longer has.
    pub resend_from: Option<u64>,
    /// The box and this gateway hold different frames of the same chain, or the chain has
    /// ended: the box, or a copy of it, went back to an older state.
    pub forked: bool,
    /// What is held of the chain that does not fit what the box says.
    pub other: Option<OtherHistory>,
}

/// A stretch of a chain that a signed gap record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedGap {
    /// The first frame that is missing.
    pub from_seq: u64,
    /// The last one, before `from_seq` when no frame is missing; the greatest number when
    /// the box does not know it.
    pub to_seq: u64,
    /// No frame of the chain will come any more.
    pub ends_chain: bool,
}

/// What a gateway holds, as far as the decisions here need it.
///
/// Every method sees what was written before within the same decision. All changes of one
/// decision must become durable together.
pub trait Holdings {
    /// Why a store fails.
    type Error;

    /// Where a chain stands; `None` when it is not known.
    ///
    /// # Errors
    /// As the store fails.
    fn head(&mut self, key: ChainKey) -> Result<Option<LaneHead>, Self::Error>;
    /// Notes where a chain stands.
    ///
    /// # Errors
    /// As the store fails.
    fn set_head(&mut self, device: BoxId, head: &LaneHead) -> Result<(), Self::Error>;
    /// How many chains of a lane are known that have not ended.
    ///
    /// # Errors
    /// As the store fails.
    fn chains(&mut self, device: BoxId, lane: Lane) -> Result<u64, Self::Error>;
    /// What ties a stored frame to its neighbours.
    ///
    /// # Errors
    /// As the store fails.
    fn link(&mut self, key: ChainKey, seq: u64) -> Result<Option<Link>, Self::Error>;
    /// The stored frames after a number, in order, at most `limit`.
    ///
    /// # Errors
    /// As the store fails.
    fn links_after(
        &mut self,
        key: ChainKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Link>, Self::Error>;
    /// Stores a frame. A late one belongs before where the lane stands already.
    ///
    /// # Errors
    /// As the store fails.
    fn keep(&mut self, frame: &Arrival<'_>, late: bool) -> Result<(), Self::Error>;
    /// Keeps a frame that conflicts with stored ones, beside them, to be filed as they are.
    /// Of those that came themselves a bounded number may be kept: they are not acknowledged.
    ///
    /// # Errors
    /// As the store fails.
    fn keep_conflict(&mut self, frame: &Arrival<'_>) -> Result<(), Self::Error>;
    /// The first missing stretch that ends at a number or after it: its first and last frame.
    ///
    /// # Errors
    /// As the store fails.
    fn missing_from(&mut self, key: ChainKey, seq: u64) -> Result<Option<(u64, u64)>, Self::Error>;
    /// Notes a missing stretch; it overlaps no other.
    ///
    /// # Errors
    /// As the store fails.
    fn add_missing(&mut self, key: ChainKey, from: u64, to: u64) -> Result<(), Self::Error>;
    /// Forgets the missing stretch that begins there.
    ///
    /// # Errors
    /// As the store fails.
    fn remove_missing(&mut self, key: ChainKey, from: u64) -> Result<(), Self::Error>;
}

/// Decides what becomes of a frame and does it.
///
/// # Errors
/// As the store fails; nothing must be kept of a decision that failed.
pub fn take<H: Holdings>(held: &mut H, frame: &Arrival<'_>) -> Result<Receipt, H::Error> {
    let seq = frame.identity.seq;
    let key = ChainKey::of(&frame.identity);
    let known = held.head(key)?;
    let head = known.unwrap_or_else(|| LaneHead::start(key.lane, key.chain));
    if seq == 0 || seq > head.upto.saturating_add(AHEAD_MAX).min(SEQ_MAX) {
        return receipt(held, key.device, head, Stored::TooFarAhead);
    }
    if known.is_none() && held.chains(key.device, key.lane)? >= CHAINS_MAX {
        return receipt(held, key.device, head, Stored::TooManyChains);
    }
    place(held, head, frame, false)
}

/// Decides what becomes of a frame that another frame of the same box and lane carried: its
/// chain has ended. It is stored as if it had come itself, and kept whatever else is held of
/// its place.
///
/// # Errors
/// As the store fails; nothing must be kept of a decision that failed.
pub fn take_carried<H: Holdings>(held: &mut H, frame: &Arrival<'_>) -> Result<Receipt, H::Error> {
    let key = ChainKey::of(&frame.identity);
    let known = held.head(key)?;
    let mut head = known.unwrap_or_else(|| LaneHead::start(key.lane, key.chain));
    if frame.identity.seq == 0 || frame.identity.seq > SEQ_MAX {
        return receipt(held, key.device, head, Stored::TooFarAhead);
    }
    if !head.ended {
        head.ended = true;
        head = advance(held, key, head)?;
    }
    place(held, head, frame, true)
}

fn place<H: Holdings>(
    held: &mut H,
    head: LaneHead,
    frame: &Arrival<'_>,
    carried: bool,
) -> Result<Receipt, H::Error> {
    let seq = frame.identity.seq;
    let key = ChainKey::of(&frame.identity);
    let late = seq <= head.upto;
    let missing = held
        .missing_from(key, seq)?
        .filter(|(from, _)| *from <= seq);
    let known = match (held.link(key, seq)?, missing) {
        (Some(link), _) if link.fingerprint == frame.fingerprint => Some(Ok(())),
        (Some(link), _) => Some(Err(Some(link))),
        // It, or another one, was stored once and is no longer kept.
        (None, None) if late && carried => Some(Err(None)),
        (None, None) if late => Some(Ok(())),
        (None, None) => None,
        (None, Some(_)) => misfit(held, key, &head, frame)?.map(|link| Err(Some(link))),
    };
    match known {
        Some(Ok(())) => return receipt(held, key.device, head, Stored::Duplicate),
        Some(Err(other)) => {
            held.keep_conflict(frame)?;
            let decided = receipt(held, key.device, head, Stored::Conflict)?;
            let other = other.map(Link::as_other);
            return Ok(Receipt {
                other: decided.other.or(other),
                ..decided
            });
        }
        None => {}
    }
    if let Some(stretch) = missing {
        split(held, key, stretch, seq)?;
    }
    held.keep(frame, late)?;
    let head = match seq == head.upto {
        true => LaneHead {
            head: Some(frame.fingerprint),
            ..head
        },
        false => head,
    };
    let head = advance(held, key, head)?;
    receipt(held, key.device, head, Stored::New)
}

/// What became of a frame that moved nothing.
fn receipt<H: Holdings>(
    held: &mut H,
    device: BoxId,
    head: LaneHead,
    stored: Stored,
) -> Result<Receipt, H::Error> {
    let other = other_history(held, device, &head)?;
    Ok(Receipt {
        stored,
        head,
        other,
    })
}

/// What is held of a chain that no frame of it can mend.
fn other_history<H: Holdings>(
    held: &mut H,
    device: BoxId,
    head: &LaneHead,
) -> Result<Option<OtherHistory>, H::Error> {
    let key = ChainKey {
        device,
        lane: head.lane,
        chain: head.chain,
    };
    Ok(match head.broken_at {
        _ if head.ended => Some(OtherHistory::Ended),
        Some(seq) => held.link(key, seq)?.map(Link::as_other),
        None => None,
    })
}

/// Compares what a box says of a lane with what is held. `None` when the box has started too
/// many chains, or states what cannot be.
///
/// # Errors
/// As the store fails.
pub fn greet<H: Holdings>(
    held: &mut H,
    device: BoxId,
    said: &LaneState,
) -> Result<Option<Greeting>, H::Error> {
    let key = ChainKey {
        device,
        lane: said.lane,
        chain: said.chain,
    };
    if said.next == 0 || said.next > SEQ_MAX || said.acked >= said.next {
        return Ok(None);
    }
    let known = held.head(key)?;
    let mut head = known.unwrap_or_else(|| LaneHead::start(said.lane, said.chain));
    let stood = head.upto;
    let made = said.next - 1;
    let lost_to = said.oldest.saturating_sub(1).min(made);
    if lost_to > head.upto && !head.ended {
        if known.is_none() && held.chains(device, said.lane)? >= CHAINS_MAX {
            return Ok(None);
        }
        note_missing(held, key, head.upto + 1, lost_to)?;
        head = advance(held, key, head)?;
    }
    if head.head.is_none() && head.upto == made && !head.ended {
        head.head = Some(said.head);
        held.set_head(device, &head)?;
    }
    let stored = held.link(key, made)?;
    let another = stored.filter(|link| link.fingerprint != said.head);
    let gone = head.head.is_none() && made < head.upto;
    let other = match (another, other_history(held, device, &head)?) {
        (Some(link), None) => Some(link.as_other()),
        (None, None) if gone => Some(OtherHistory::Frame {
            seq: head.upto,
            fingerprint: NO_PREVIOUS,
        }),
        (_, other) => other,
    };
    Ok(Some(Greeting {
        head,
        resend_from: (said.acked > stood && !head.ended).then(|| stood + 1),
        forked: another.is_some() || head.ended,
        other,
    }))
}

/// Takes a signed gap record at its word: the frames that it names and that are not stored
/// are missing, and the lane goes on behind them. Doing it again changes nothing.
///
/// # Errors
/// As the store fails.
pub fn name_gap<H: Holdings>(held: &mut H, key: ChainKey, gap: &NamedGap) -> Result<(), H::Error> {
    let known = held.head(key)?;
    let room = gap.ends_chain || held.chains(key.device, key.lane)? < CHAINS_MAX;
    if known.is_none() && !room {
        return Ok(());
    }
    let mut head = known.unwrap_or_else(|| LaneHead::start(key.lane, key.chain));
    head.ended |= gap.ends_chain;
    let to = match gap.to_seq {
        to if to <= SEQ_MAX => to,
        _ => last_stored(held, key, head.upto)?,
    };
    // Of an ended chain nothing will fill the holes before the named stretch either. What
    // lies before the head is stored, noted as missing, or no longer kept.
    let from = match gap.ends_chain {
        true => head.upto + 1,
        false => gap.from_seq.max(head.upto + 1),
    };
    note_missing(held, key, from, to)?;
    advance(held, key, head).map(|_| ())
}

/// The stretches of `missing` that no stretch of `named` covers, in order. Stretches are first
/// and last frame; those of `missing` do not overlap.
pub fn unnamed(missing: &[(u64, u64)], named: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut missing, mut named) = (missing.to_vec(), named.to_vec());
    missing.sort_unstable();
    named.sort_unstable();
    let mut left = Vec::new();
    for (from, to) in missing {
        let mut at = from;
        for &(named_from, named_to) in &named {
            if named_to < at || named_from > to {
                continue;
            }
            if named_from > at {
                left.push((at, named_from - 1));
            }
            at = at.max(named_to.saturating_add(1));
        }
        if at <= to {
            left.push((at, to));
        }
    }
    left
}

#[cfg(test)]
mod tests;
