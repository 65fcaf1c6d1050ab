//! The chain: one more event, and whether all of it is as it was written.

use cardio_core::clock::UtcMicros;
use cardio_wire::keys::SigningKey;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::Event;
use crate::db::{Connection, DbError, values};

/// Rows that are walked at once.
const WALKED: i64 = 1_000;
const ACT: &str = "write down who did what";

type Hash = [u8; 32];

/// A place in the chain: how many events there were, and the hash of the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// What is wrong with the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// An event is not where its number says: one before it was taken out, or moved.
    Missing(u64),
    /// An event, or its order, is not what was written.
    Changed(u64),
    /// What an event is searched by is not what it says.
    Index(u64),
    /// The newest event is not the one that was signed.
    End(u64),
    /// No key of this gateway signed the end.
    Signature(u64),
    /// The head that was noted is not in the chain.
    Noted(u64),
}

impl Broken {
    /// What is wrong, and where.
    pub fn words(&self) -> String {
        match self {
            Self::Missing(seq) => format!("event {seq} is missing"),
            Self::Changed(seq) => format!("event {seq} is not what was written"),
            Self::Index(seq) => format!("event {seq} is searched by what it does not say"),
            Self::End(seq) => format!("event {seq} was signed as the last, and is not"),
            Self::Signature(seq) => {
                format!("no key of this gateway signed event {seq} as the last")
            }
            Self::Noted(seq) => format!("event {seq} is not the one that was noted"),
        }
    }
}

/// The chain, walked from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its end.
    pub head: Head,
    /// The key that signed it.
    pub key: String,
    /// The first thing that is wrong, if anything is.
    pub broken: Option<Broken>,
}

fn hash_of(before: &Hash, seq: u64, at: UtcMicros, body: &str) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"cardio audit 1\0");
    context.update(before);
    context.update(&seq.to_be_bytes());
    context.update(&at.0.to_be_bytes());
    context.update(body.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn signed(seq: u64, hash: &Hash) -> Vec<u8> {
    let mut message = b"cardio audit head 1\0".to_vec();
    message.extend_from_slice(&seq.to_be_bytes());
    message.extend_from_slice(hash);
    message
}

/// Adds an event, and signs it as the end of the chain.
pub(super) fn append(
    tx: &Connection,
    event: &Event,
    now: UtcMicros,
    signer: &SigningKey,
) -> Result<(), DbError> {
    let (last, before) = end(tx)?.map_or((0, [0; 32]), |(seq, hash, ..)| (seq, hash));
    let body = serde_json::to_string(event).map_err(|_| DbError::Damaged { what: ACT })?;
    let seq = last.saturating_add(1);
    let hash = hash_of(&before, seq, now, &body);
    tx.execute(
        ACT,
        "INSERT INTO audit (seq, at_us, body, hash, deed, outcome, account)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        values![
            seq,
            now,
            body,
            hash,
            event.deed,
            event.outcome,
            event.account
        ],
    )?;
    for patient in &event.patients {
        tx.execute(
            ACT,
            "INSERT INTO audit_patients (patient, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            values![patient, seq],
        )?;
    }
    let signature = signer.sign(&signed(seq, &hash));
    tx.execute(
        ACT,
        "INSERT INTO audit_head (\"only\", seq, hash, key, signature) VALUES (1, ?1, ?2, ?3, ?4)
         ON CONFLICT (\"only\") DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
           key = excluded.key, signature = excluded.signature",
        values![seq, hash, signer.key_id().to_string(), signature],
    )
    .map(|_| ())
}

type End = (u64, Hash, String, Vec<u8>);

fn end(c: &Connection) -> Result<Option<End>, DbError> {
    let row = c.row(
        "read the end of the trace",
        "SELECT seq, hash, key, signature FROM audit_head",
        values![],
    )?;
    row.map(|mut row| Ok((row.take(0)?, row.take(1)?, row.take(2)?, row.take(3)?)))
        .transpose()
}

/// Walks the chain and believes nothing in it; `is_ours` says whether a key of this gateway
/// signed.
pub(super) fn verify(
    c: &Connection,
    noted: Option<&Head>,
    is_ours: impl Fn(&str, &[u8], &[u8]) -> bool,
) -> Result<Proof, DbError> {
    let (signed_seq, signed_hash, key, signature) =
        end(c)?.unwrap_or_else(|| (0, [0; 32], String::new(), Vec::new()));
    let mut broken = None;
    let mut is_noted = noted.is_none();
    let (mut seq, mut hash): (u64, Hash) = (0, [0; 32]);
    while broken.is_none() {
        let rows = c.rows(
            "walk the trace",
            "SELECT seq, at_us, body, hash, deed, outcome, account FROM audit
             WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
            values![seq, signed_seq, WALKED],
        )?;
        if rows.is_empty() {
            break;
        }
        for mut row in rows {
            let number: u64 = row.take(0)?;
            let (at, body): (UtcMicros, String) = (row.take(1)?, row.take(2)?);
            let kept: Hash = row.take(3)?;
            let beside: [String; 3] = [row.take(4)?, row.take(5)?, row.take(6)?];
            let computed = hash_of(&hash, number, at, &body);
            broken = if number != seq.saturating_add(1) {
                Some(Broken::Missing(seq.saturating_add(1)))
            } else if kept != computed {
                Some(Broken::Changed(number))
            } else if !fits(&body, &beside) {
                Some(Broken::Index(number))
            } else {
                None
            };
            if broken.is_some() {
                break;
            }
            (seq, hash) = (number, computed);
            is_noted |= noted.is_some_and(|n| n.seq == seq && n.hash == crate::keys::hex(&hash));
        }
    }
    let beyond: Option<i64> = c.cell(
        "look behind the end of the trace",
        "SELECT 1 FROM audit WHERE seq > ?1 LIMIT 1",
        values![signed_seq],
    )?;
    let broken = broken.or(match () {
        () if seq != signed_seq || hash != signed_hash => Some(Broken::End(signed_seq)),
        () if beyond.is_some() => Some(Broken::End(signed_seq)),
        () if seq > 0 && !is_ours(&key, &signed(seq, &hash), &signature) => {
            Some(Broken::Signature(seq))
        }
        () if !is_noted => noted.map(|noted| Broken::Noted(noted.seq)),
        () => None,
    });
    Ok(Proof {
        head: Head {
            seq,
            hash: crate::keys::hex(&hash),
        },
        key,
        broken,
    })
}

/// Whether what an event is searched by is what it says.
fn fits(body: &str, [deed, outcome, account]: &[String; 3]) -> bool {
    serde_json::from_str::<Event>(body).is_ok_and(|event| {
        event.deed == *deed && event.outcome == *outcome && event.account == *account
    })
}

#[cfg(test)]
mod tests {
    use super::super::{About, Event};
    use super::{Broken, Head, Proof, append, verify};
    use crate::access::STEPS;
    use crate::db::testing::Fresh;
    use crate::db::{Connection, values};
    use cardio_core::clock::UtcMicros;
    use cardio_fhir::audit::Deed;
    use cardio_wire::keys::SigningKey;
    use ring::rand::SystemRandom;

    fn on_chain(work: impl FnOnce(&Connection, &SigningKey) + Send) {
        let (signer, _) = SigningKey::generate(&SystemRandom::new()).unwrap();
        Fresh::on(STEPS, |c| {
            for n in 0..7_i64 {
                let about = About {
                    patients: vec![format!("p{n}")],
                    ..About::default()
                };
                let event = Event::of_program(Deed::Read).about(about);
                append(c, &event, UtcMicros(1_000 + n), &signer).unwrap();
            }
            work(c, &signer);
        });
    }

    fn walked(c: &Connection, signer: &SigningKey, noted: Option<&Head>) -> Proof {
        let known = signer.verifying_key();
        verify(c, noted, |key, message, signature| {
            key == known.key_id().to_string() && known.verify(message, signature)
        })
        .unwrap()
    }

    #[test]
    fn a_chain_as_it_was_written_is_whole_and_so_is_none() {
        on_chain(|c, signer| {
            let proof = walked(c, signer, None);
            assert_eq!((proof.head.seq, &proof.broken), (7, &None));
            let event = Event::of_program(Deed::Stop);
            append(c, &event, UtcMicros(2_000), signer).unwrap();
            let longer = walked(c, signer, Some(&proof.head));
            assert_eq!((longer.head.seq, longer.broken), (8, None));
        });
        Fresh::on(STEPS, |c| {
            assert_eq!(verify(c, None, |_, _, _| false).unwrap().broken, None);
        });
    }

    #[test]
    fn an_event_that_is_taken_out_changed_moved_or_added_is_found() {
        let cases = [
            ("DELETE FROM audit WHERE seq = 3", Broken::Missing(3)),
            ("DELETE FROM audit WHERE seq = 1", Broken::Missing(1)),
            ("DELETE FROM audit WHERE seq = 7", Broken::End(7)),
            ("DELETE FROM audit WHERE seq > 4", Broken::End(7)),
            ("DELETE FROM audit", Broken::End(7)),
            (
                "UPDATE audit SET body = replace(body, 'read', 'stop') WHERE seq = 4",
                Broken::Changed(4),
            ),
            (
                "UPDATE audit SET at_us = at_us + 1 WHERE seq = 5",
                Broken::Changed(5),
            ),
            (
                "UPDATE audit SET account = 'x' WHERE seq = 2",
                Broken::Index(2),
            ),
            ("UPDATE audit SET seq = 9 WHERE seq = 7", Broken::End(7)),
            (
                "UPDATE audit SET body = (SELECT body FROM audit WHERE seq = 6) WHERE seq = 5",
                Broken::Changed(5),
            ),
            (
                "INSERT INTO audit SELECT 8, at_us, body, hash, deed, outcome, account
                 FROM audit WHERE seq = 7",
                Broken::End(7),
            ),
            ("UPDATE audit_head SET seq = 6", Broken::End(6)),
            (
                "UPDATE audit_head SET seq = 6, hash = (SELECT hash FROM audit WHERE seq = 6)",
                Broken::End(6),
            ),
        ];
        for (sql, broken) in cases {
            on_chain(|c, signer| {
                c.execute("tamper", sql, values![]).unwrap();
                assert_eq!(walked(c, signer, None).broken, Some(broken), "{sql}");
            });
        }
        on_chain(|c, signer| {
            let tail = "DELETE FROM audit WHERE seq = 7";
            c.execute("tamper", tail, values![]).unwrap();
            let head = "UPDATE audit_head SET seq = 6,
                        hash = (SELECT hash FROM audit WHERE seq = 6)";
            c.execute("tamper", head, values![]).unwrap();
            assert_eq!(walked(c, signer, None).broken, Some(Broken::Signature(6)));
        });
    }

    #[test]
    fn a_chain_that_was_written_anew_with_the_key_does_not_hold_the_noted_head() {
        let mut noted = None;
        on_chain(|c, signer| noted = Some(walked(c, signer, None).head));
        on_chain(|c, signer| {
            let noted = noted.unwrap();
            assert_eq!(
                walked(c, signer, Some(&noted)).broken,
                None,
                "the same events"
            );
        });
        Fresh::on(STEPS, |c| {
            let (signer, _) = SigningKey::generate(&SystemRandom::new()).unwrap();
            append(c, &Event::of_program(Deed::Start), UtcMicros(1), &signer).unwrap();
            let noted = Head {
                seq: 1,
                hash: "00".repeat(32),
            };
            let proof = walked(c, &signer, Some(&noted));
            assert_eq!(proof.broken, Some(Broken::Noted(1)));
        });
    }
}
