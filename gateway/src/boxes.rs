//! Which boxes may connect, and which are connected now.
//!
//! The allow-list is a copy in memory of what the inbox stores; it is asked at every TLS
//! handshake. One box has at most one live session: a newer one ends the older. Deliberately
//! absent: storing. [`crate::inbox`] does that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::{RecipientPublicKey, TrustedKeyIds, VerifyingKey};
use cardio_wire::message::{CommandAction, State};
use rumqttc::mqttbytes::v5::DisconnectReasonCode;
use tokio::sync::{mpsc, watch};

/// Orders to one session that it has not taken up; what comes on top the next hello brings.
const ORDERS_MAX: usize = 8;

/// A box on the allow-list.
#[derive(Clone, Debug)]
pub struct KnownBox {
    /// Its name for ever.
    pub id: BoxId,
    /// What people call it.
    pub name: String,
    /// Verifies its frames and its hello.
    pub frame_key: VerifyingKey,
    /// SHA-256 of its certificate's public key.
    pub cert_key_hash: [u8; 32],
}

impl KnownBox {
    /// What the box, or a broker in its place, says of its connection; `None` when the box did
    /// not sign it.
    pub fn state(&self, bytes: &[u8]) -> Option<State> {
        State::verify(bytes, &self.frame_key)
            .ok()
            .filter(|state| state.device == self.id)
    }
}

/// What is known of a live session.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// When it began.
    pub since: UtcMicros,
    generation: u64,
    /// Where the visits of the day may be sealed to, once the box has said so.
    visits_key: Option<RecipientPublicKey>,
    end: watch::Sender<Option<DisconnectReasonCode>>,
    orders: mpsc::Sender<CommandAction>,
}

/// A box that listens for the visits of the day: in which session, and with which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    generation: u64,
    /// The key that they are to be sealed to.
    pub key: RecipientPublicKey,
}

/// The allow-list and the live sessions.
#[derive(Debug, Default)]
pub struct Boxes {
    admitted: RwLock<HashMap<[u8; 32], Arc<KnownBox>>>,
    live: Mutex<Live>,
    greeted: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Live {
    sessions: HashMap<BoxId, LiveSession>,
    left: HashMap<BoxId, UtcMicros>,
    pins: HashMap<BoxId, TrustedKeyIds>,
    generations: u64,
}

/// A session's own place among the live ones; leaving is dropping it.
#[derive(Debug)]
pub struct Presence {
    boxes: Arc<Boxes>,
    id: BoxId,
    generation: u64,
    /// What the box is to be told.
    pub orders: mpsc::Receiver<CommandAction>,
    /// Becomes `Some(reason)` when the session must end.
    pub ended: watch::Receiver<Option<DisconnectReasonCode>>,
}

impl Boxes {
    /// A list that admits `boxes`.
    pub fn new(boxes: impl IntoIterator<Item = KnownBox>) -> Self {
        let list = Self::default();
        for known in boxes {
            list.admit(known);
        }
        list
    }

    /// Puts a box on the allow-list.
    pub fn admit(&self, known: KnownBox) {
        self.admitted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(known.cert_key_hash, Arc::new(known));
    }

    /// The box whose certificate has this public key, if it is on the allow-list.
    pub fn admitted(&self, cert_key_hash: &[u8; 32]) -> Option<Arc<KnownBox>> {
        self.admitted
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(cert_key_hash)
            .cloned()
    }

    /// The box of this number, if it is on the allow-list. Looks at every box: for the start
    /// of a conversation, not for each message.
    pub fn known(&self, id: BoxId) -> Option<Arc<KnownBox>> {
        self.admitted
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .find(|known| known.id == id)
            .cloned()
    }

    /// Tells a box to do something; answers whether it is connected and will hear it.
    pub fn tell(&self, id: BoxId, action: CommandAction) -> bool {
        let live = self.lock();
        let session = live.sessions.get(&id);
        session.is_some_and(|session| session.orders.try_send(action).is_ok())
    }

    /// Tells every box that is connected; answers how many.
    pub fn tell_all(&self, action: CommandAction) -> usize {
        let live = self.lock();
        let told = live
            .sessions
            .values()
            .filter(|session| session.orders.try_send(action.clone()).is_ok());
        told.count()
    }

    /// Notes which keys of this gateway a box says it has pinned.
    pub fn note_pins(&self, id: BoxId, pins: TrustedKeyIds) {
        self.lock().pins.insert(id, pins);
    }

    /// Notes where the visits of the day may be sealed to, as a box says in its hello.
    pub fn note_visits_key(&self, id: BoxId, key: Option<RecipientPublicKey>) {
        if let Some(session) = self.lock().sessions.get_mut(&id) {
            session.visits_key = key;
        }
        self.greeted
            .send_modify(|hellos| *hellos = hellos.wrapping_add(1));
    }

    /// Changes with every hello.
    pub fn greeted(&self) -> watch::Receiver<u64> {
        self.greeted.subscribe()
    }

    /// The connected boxes that listen for the visits of the day.
    pub fn listeners(&self) -> HashMap<BoxId, Listener> {
        let live = self.lock();
        let listeners = live.sessions.iter().filter_map(|(id, session)| {
            let (generation, key) = (session.generation, session.visits_key?);
            Some((*id, Listener { generation, key }))
        });
        listeners.collect()
    }

    /// Which keys of this gateway a box has pinned, if it said hello since the start.
    pub fn pins(&self, id: BoxId) -> Option<TrustedKeyIds> {
        self.lock().pins.get(&id).copied()
    }

    /// Takes a box off the allow-list, tells it to wipe its keys, and ends its live session.
    pub fn revoke(&self, id: BoxId) {
        self.admitted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, known| known.id != id);
        self.tell(id, CommandAction::Revoke);
        if let Some(session) = self.lock().sessions.get(&id) {
            session
                .end
                .send_replace(Some(DisconnectReasonCode::NotAuthorized));
        }
    }

    /// Ends every live session.
    pub fn end_all(&self, reason: DisconnectReasonCode) {
        for session in self.lock().sessions.values() {
            session.end.send_replace(Some(reason));
        }
    }

    /// Enters a session; an older one of the same box is taken over.
    pub fn enter(self: &Arc<Self>, id: BoxId, now: UtcMicros) -> Presence {
        let (end, ended) = watch::channel(None);
        let (orders, to_tell) = mpsc::channel(ORDERS_MAX);
        let mut live = self.lock();
        live.generations += 1;
        let generation = live.generations;
        let session = LiveSession {
            since: now,
            generation,
            visits_key: None,
            end,
            orders,
        };
        if let Some(older) = live.sessions.insert(id, session) {
            older
                .end
                .send_replace(Some(DisconnectReasonCode::SessionTakenOver));
        }
        drop(live);
        Presence {
            boxes: Arc::clone(self),
            id,
            generation,
            orders: to_tell,
            ended,
        }
    }

    /// The live sessions.
    pub fn live(&self) -> HashMap<BoxId, LiveSession> {
        self.lock().sessions.clone()
    }

    /// When the box was last connected, if it was since the start; `now` while it is.
    pub fn last_connected(&self, id: BoxId, now: UtcMicros) -> Option<UtcMicros> {
        let live = self.lock();
        if live.sessions.contains_key(&id) {
            Some(now)
        } else {
            live.left.get(&id).copied()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Notes when the session ends.
    pub fn note_end(&self, now: UtcMicros) {
        self.boxes.lock().left.insert(self.id, now);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut live = self.boxes.lock();
        if live
            .sessions
            .get(&self.id)
            .is_some_and(|session| session.generation == self.generation)
        {
            live.sessions.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Boxes;
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::BoxId;
    use rumqttc::mqttbytes::v5::DisconnectReasonCode;
    use std::sync::Arc;

    const BOX: BoxId = BoxId([7; 16]);

    #[test]
    fn a_newer_session_takes_over_and_the_older_leaves_it_in_place() {
        let boxes = Arc::new(Boxes::default());
        let older = boxes.enter(BOX, UtcMicros(1));
        let newer = boxes.enter(BOX, UtcMicros(2));
        assert_eq!(
            *older.ended.borrow(),
            Some(DisconnectReasonCode::SessionTakenOver)
        );
        drop(older);
        assert_eq!(boxes.live()[&BOX].since, UtcMicros(2));
        drop(newer);
        assert!(boxes.live().is_empty());
    }

    #[test]
    fn revoking_ends_the_live_session() {
        let boxes = Arc::new(Boxes::default());
        let presence = boxes.enter(BOX, UtcMicros(1));
        boxes.revoke(BOX);
        assert_eq!(
            *presence.ended.borrow(),
            Some(DisconnectReasonCode::NotAuthorized)
        );
    }
}
