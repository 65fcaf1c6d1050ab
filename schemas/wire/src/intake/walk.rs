//! Walking what is held of a chain: along matching hashes, over what is missing, to the first
//! hole.

use super::{Arrival, ChainKey, Holdings, LINKS_AT_ONCE, LaneHead, Link};

/// The last stored frame of a chain from `upto` on.
pub(super) fn last_stored<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    upto: u64,
) -> Result<u64, H::Error> {
    let mut last = upto;
    loop {
        let links = held.links_after(key, last, LINKS_AT_ONCE)?;
        match links.last() {
            Some(link) => last = link.seq,
            None => return Ok(last),
        }
    }
}

/// What a frame does not fit: the stored frames on either side of it, and what the box itself
/// said of the frame where the lane stands.
pub(super) fn misfit<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    head: &LaneHead,
    frame: &Arrival<'_>,
) -> Result<Option<Link>, H::Error> {
    let seq = frame.identity.seq;
    let said = head.head.filter(|said| *said != frame.fingerprint);
    if let Some(fingerprint) = said.filter(|_| seq == head.upto) {
        return Ok(Some(Link {
            seq,
            prev: frame.prev,
            fingerprint,
        }));
    }
    let before = held.link(key, seq - 1)?;
    let after = held.link(key, seq + 1)?;
    let before = before.filter(|link| link.fingerprint != frame.prev);
    Ok(before.or(after.filter(|link| link.prev != frame.fingerprint)))
}

/// Takes one frame out of a missing stretch.
pub(super) fn split<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    (from, to): (u64, u64),
    seq: u64,
) -> Result<(), H::Error> {
    held.remove_missing(key, from)?;
    if from < seq {
        held.add_missing(key, from, seq - 1)?;
    }
    if seq < to {
        held.add_missing(key, seq + 1, to)?;
    }
    Ok(())
}

/// Notes what is neither stored nor noted of a stretch.
pub(super) fn note_missing<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    from: u64,
    to: u64,
) -> Result<(), H::Error> {
    let mut at = from;
    let mut links = Vec::new().into_iter().peekable();
    while at <= to {
        if links.peek().is_none() {
            links = held
                .links_after(key, at - 1, LINKS_AT_ONCE)?
                .into_iter()
                .peekable();
        }
        while links.next_if(|link: &Link| link.seq < at).is_some() {}
        let stored = links.peek().map(|link| link.seq).filter(|seq| *seq <= to);
        let noted = held.missing_from(key, at)?.filter(|(from, _)| *from <= to);
        let end = match (stored, noted) {
            (Some(seq), _) if seq == at => {
                at += 1;
                continue;
            }
            (_, Some((from, to))) if from <= at => {
                at = to + 1;
                continue;
            }
            (stored, noted) => {
                let stored = stored.map_or(to, |seq| seq - 1);
                noted.map_or(stored, |(from, _)| stored.min(from - 1))
            }
        };
        held.add_missing(key, at, end)?;
        at = end + 1;
    }
    Ok(())
}

/// Walks from where the lane stands along matching hashes and over what is missing to the
/// first hole, and notes it. A chain that has ended is walked to its end.
pub(super) fn advance<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    from: LaneHead,
) -> Result<LaneHead, H::Error> {
    let mut head = from;
    'chain: loop {
        let links = held.links_after(key, head.upto, LINKS_AT_ONCE)?;
        let whole = links.len() < LINKS_AT_ONCE;
        for link in links {
            if link.seq != head.upto + 1 {
                if !over_missing(held, key, &mut head)? {
                    if !head.ended {
                        break 'chain;
                    }
                    note_missing(held, key, head.upto + 1, link.seq - 1)?;
                }
                continue 'chain;
            }
            if head.head.is_some_and(|expected| link.prev != expected) {
                head.broken_at.get_or_insert(link.seq);
                if !head.ended {
                    break 'chain;
                }
            }
            head.upto = link.seq;
            head.head = Some(link.fingerprint);
        }
        if whole && !over_missing(held, key, &mut head)? {
            break;
        }
    }
    held.set_head(key.device, &head)?;
    Ok(head)
}

/// Steps over the missing stretch behind the head, if there is one.
fn over_missing<H: Holdings>(
    held: &mut H,
    key: ChainKey,
    head: &mut LaneHead,
) -> Result<bool, H::Error> {
    let next = head.upto + 1;
    let Some((_, to)) = held
        .missing_from(key, next)?
        .filter(|(from, _)| *from <= next)
    else {
        return Ok(false);
    };
    head.upto = to;
    head.head = None;
    Ok(true)
}
