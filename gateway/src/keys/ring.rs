//! The keys that change: recipient keys (boxes seal to them) and control keys (this gateway
//! signs with them).
//!
//! * `ring.toml` lists them and says which is which; each secret is a file of its own. A change
//!   writes the new secret, flushes it, and then replaces the list as a whole: after a crash the
//!   list is the old one or the new one, and a secret that no list names is of no use.
//! * One recipient key is active. Older ones are kept and still open what was sealed to them,
//!   until they are retired.
//! * One control key is current and one is next; boxes pin both, so that a box that knows the
//!   keys before a change believes the first word after it. Older ones are kept to speak to boxes
//!   that missed a change, until they are retired.
//!
//! Deliberately absent: telling the boxes. See [`crate::orders`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardio_core::clock::UtcMicros;
use cardio_wire::keys::{
    KeyId, RecipientSecretKey, SigningKey, TrustedKeyIds, TrustedKeys, VerifyingKey,
};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::KeyError;
use super::files::{damaged, replace_private, secret_bytes, text, wipe, write_private};
use crate::clock::rfc3339;

const LIST: &str = "ring.toml";

/// What a key is to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Boxes are told to seal to it.
    Active,
    /// Signs.
    Current,
    /// Will sign after the next change.
    Next,
    /// Was used, and still serves those who know no newer one.
    Kept,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Records are sealed to it.
    Recipient,
    /// Acknowledgements and commands are signed with it.
    Control,
}

/// A key as the list names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is for.
    pub purpose: Purpose,
    /// What it is to the ring.
    pub role: Role,
    /// Its id, hexadecimal.
    pub id: String,
    /// When it was made, RFC 3339.
    pub made: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    schema: Schema,
    key: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "ring/1")]
    V1,
}

/// The keys as they are at one moment.
#[derive(Clone)]
pub(super) struct KeyRing {
    pub(super) entries: Vec<Entry>,
    recipients: Vec<Arc<RecipientSecretKey>>,
    controls: Vec<SigningKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

impl KeyRing {
    /// Makes the first keys in a folder.
    pub(super) fn create(folder: &Path, now: UtcMicros) -> Result<(), KeyError> {
        let mut ring = Self {
            entries: Vec::new(),
            recipients: Vec::new(),
            controls: Vec::new(),
        };
        ring.add_recipient(folder, Role::Active, now)?;
        ring.add_control(folder, Role::Current, now)?;
        ring.add_control(folder, Role::Next, now)?;
        ring.keep(folder)
    }

    pub(super) fn open(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(LIST);
        let list: List = toml::from_str(&text(&path)?).map_err(|_| damaged(&path, "a key list"))?;
        let mut ring = Self {
            entries: list.key,
            recipients: Vec::new(),
            controls: Vec::new(),
        };
        for entry in &ring.entries {
            let path = secret_file(folder, entry);
            let secret = secret_bytes(&path)?;
            let id = match entry.purpose {
                Purpose::Recipient => {
                    let key = RecipientSecretKey::from_bytes(&secret)
                        .map_err(|_| damaged(&path, "an X25519 key"))?;
                    ring.recipients.push(Arc::new(key));
                    ring.recipients.last().map(|key| key.key_id())
                }
                Purpose::Control => {
                    let key = SigningKey::from_pkcs8(&secret)
                        .map_err(|_| damaged(&path, "an Ed25519 key"))?;
                    ring.controls.push(key);
                    ring.controls.last().map(SigningKey::key_id)
                }
            };
            if id.is_none_or(|id| id.to_string() != entry.id) {
                return Err(damaged(&path, "the key that its name says"));
            }
        }
        let roles = [Role::Active, Role::Current, Role::Next];
        let one_of_each = |role| ring.entries.iter().filter(|key| key.role == role).count() == 1;
        if !roles.into_iter().all(one_of_each) {
            return Err(damaged(&path, "one active, one current and one next key"));
        }
        Ok(ring)
    }

    /// The secret that opens what was sealed to `id`; the active one when `id` is not ours.
    pub(super) fn recipient(&self, id: KeyId) -> Result<Arc<RecipientSecretKey>, KeyError> {
        let active = self.id(Role::Active);
        let find = |wanted: &str| {
            let mut keys = self.recipients.iter();
            keys.find(|key| key.key_id().to_string() == wanted)
        };
        find(&id.to_string())
            .or_else(|| find(active))
            .cloned()
            .ok_or(KeyError::NoRole { role: "active" })
    }

    pub(super) fn control(&self) -> Result<SigningKey, KeyError> {
        self.signer(Role::Current, "current")
    }

    pub(super) fn control_of(&self, id: &str) -> Option<VerifyingKey> {
        let mut keys = self.controls.iter();
        let found = keys.find(|key| key.key_id().to_string() == id);
        found.map(SigningKey::verifying_key)
    }

    pub(super) fn trusted(&self) -> Result<TrustedKeys, KeyError> {
        let active = self.recipients.iter();
        let active = active.filter(|key| key.key_id().to_string() == self.id(Role::Active));
        let recipient = active.map(|key| key.public()).next();
        Ok(TrustedKeys {
            recipient: recipient.ok_or(KeyError::NoRole { role: "active" })?,
            control: self.control()?.verifying_key(),
            control_next: self.signer(Role::Next, "next")?.verifying_key(),
        })
    }

    /// The newest key whose word a box with these pins believes.
    pub(super) fn speaker(&self, pinned: &TrustedKeyIds) -> Option<SigningKey> {
        let believed =
            |key: &&SigningKey| [pinned.control, pinned.control_next].contains(&key.key_id());
        let current = self.control().ok();
        current
            .filter(|key| believed(&key))
            .or_else(|| self.controls.iter().rev().find(believed).cloned())
    }

    /// A new active recipient key; the one before is kept.
    pub(super) fn rotate_recipient(
        &mut self,
        folder: &Path,
        now: UtcMicros,
    ) -> Result<String, KeyError> {
        self.change_role(Role::Active, Role::Kept);
        let id = self.add_recipient(folder, Role::Active, now)?;
        self.keep(folder)?;
        Ok(id)
    }

    /// The next control key becomes current, a new one next; the one before is kept.
    pub(super) fn rotate_control(
        &mut self,
        folder: &Path,
        now: UtcMicros,
    ) -> Result<String, KeyError> {
        self.change_role(Role::Current, Role::Kept);
        self.change_role(Role::Next, Role::Current);
        self.add_control(folder, Role::Next, now)?;
        self.keep(folder)?;
        Ok(self.id(Role::Current).to_owned())
    }

    /// Forgets a kept key: its secret is wiped once no list names it.
    pub(super) fn retire(&mut self, folder: &Path, id: &str) -> Result<(), KeyError> {
        let found = self.entries.iter().position(|key| key.id == id);
        let place = found.ok_or_else(|| KeyError::Unknown { id: id.to_owned() })?;
        let entry = self.entries.remove(place);
        if entry.role != Role::Kept {
            return Err(KeyError::InUse { id: entry.id });
        }
        self.recipients.retain(|key| key.key_id().to_string() != id);
        self.controls.retain(|key| key.key_id().to_string() != id);
        self.keep(folder)?;
        wipe(&secret_file(folder, &entry))
    }

    fn id(&self, role: Role) -> &str {
        let mut keys = self.entries.iter();
        keys.find(|key| key.role == role)
            .map_or("", |key| key.id.as_str())
    }

    fn signer(&self, role: Role, name: &'static str) -> Result<SigningKey, KeyError> {
        let mut keys = self.controls.iter();
        keys.find(|key| key.key_id().to_string() == self.id(role))
            .cloned()
            .ok_or(KeyError::NoRole { role: name })
    }

    fn change_role(&mut self, from: Role, to: Role) {
        for key in self.entries.iter_mut().filter(|key| key.role == from) {
            key.role = to;
        }
    }

    fn add_recipient(
        &mut self,
        folder: &Path,
        role: Role,
        now: UtcMicros,
    ) -> Result<String, KeyError> {
        let what = "a recipient key";
        let key = RecipientSecretKey::generate(&SystemRandom::new())
            .map_err(|_| KeyError::NoRandomness { what })?;
        let entry = entry(Purpose::Recipient, role, key.key_id(), now);
        write_private(&secret_file(folder, &entry), key.to_bytes().as_ref())?;
        self.recipients.push(Arc::new(key));
        self.entries.push(entry.clone());
        Ok(entry.id)
    }

    fn add_control(&mut self, folder: &Path, role: Role, now: UtcMicros) -> Result<(), KeyError> {
        let what = "a control key";
        let (key, document) = SigningKey::generate(&SystemRandom::new())
            .map_err(|_| KeyError::NoRandomness { what })?;
        let entry = entry(Purpose::Control, role, key.key_id(), now);
        write_private(&secret_file(folder, &entry), &document)?;
        self.controls.push(key);
        self.entries.push(entry);
        Ok(())
    }

    fn keep(&self, folder: &Path) -> Result<(), KeyError> {
        let path = folder.join(LIST);
        let list = toml::to_string(&List {
            schema: Schema::V1,
            key: self.entries.clone(),
        });
        let list = list.map_err(|_| damaged(&path, "a key list"))?;
        replace_private(&path, list.as_bytes())
    }
}

fn entry(purpose: Purpose, role: Role, id: KeyId, now: UtcMicros) -> Entry {
    Entry {
        purpose,
        role,
        id: id.to_string(),
        made: rfc3339(now),
    }
}

fn secret_file(folder: &Path, entry: &Entry) -> PathBuf {
    let kind = match entry.purpose {
        Purpose::Recipient => "recipient",
        Purpose::Control => "control",
    };
    folder.join(format!("{kind}-{}.key", entry.id))
}
