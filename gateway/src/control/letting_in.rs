//! Answers about who is let in and with which keys: invitations, decisions, key changes.

use cardio_wire::message::CommandAction;
use serde_json::{Value, json};

use super::{Control, Refused};
use crate::enrol::desk::{DeskError, Visitor};
use crate::keys::KeyError;
use crate::keys::ring::Purpose;
use crate::{clock, keys, record, tls};

fn at_the_desk(error: &DeskError) -> Refused {
    Refused::of(error, error.code())
}

fn of_the_keys(error: &KeyError) -> Refused {
    Refused::of(error, error.code())
}

impl Control {
    pub(super) async fn invite(&self, name: &str) -> Result<Value, Refused> {
        let made = self.desk.invite(name).await;
        let invitation = made.map_err(|error| at_the_desk(&error))?;
        let authority = tls::authority_hash(self.keys.ca_pem())
            .map_err(|error| Refused::of(&error, error.code()))?;
        let address = &self.desk.meeting().renewal;
        let (code, authority) = (invitation.code.to_text(), keys::hex(&authority));
        Ok(json!({
            "schema": "invitation/1",
            "name": invitation.name,
            "address": address,
            "ca_sha256": authority,
            "code": code.as_str(),
            "until": clock::rfc3339(invitation.until),
            "qr": cardio_wire::enrol::Scan {
                address: address.clone(),
                authority: authority.clone(),
                code: invitation.code,
            }
            .to_text()
            .as_str(),
        }))
    }

    pub(super) async fn visitors(&self) -> Result<Value, Refused> {
        let visitors = self.desk.visitors().await;
        let visitors = visitors.map_err(|error| at_the_desk(&error))?;
        let now = self.clock.read().utc;
        let shown: Vec<Value> = visitors
            .iter()
            .map(|visitor| self.shown(visitor, now.0))
            .collect();
        Ok(json!({"schema": "invitations/1", "invitations": shown}))
    }

    fn shown(&self, visitor: &Visitor, now_us: i64) -> Value {
        json!({
            "name": visitor.name,
            "state": visitor.state,
            "until": clock::rfc3339(visitor.until),
            "left_s": visitor.until.0.saturating_sub(now_us).max(0) / 1_000_000,
            "words": visitor.words,
            "agent_version": visitor.agent_version,
            "asked": visitor.asked.map(clock::rfc3339),
            "wrong_codes": visitor.wrong,
            "used_again": visitor.again,
        })
    }

    pub(super) async fn confirm(&self, name: &str, words: &str) -> Result<Value, Refused> {
        let confirmed = self.desk.confirm(name, words).await;
        let id = confirmed.map_err(|error| at_the_desk(&error))?;
        Ok(json!({"id": id.to_string(), "name": name}))
    }

    pub(super) async fn refuse(&self, name: &str) -> Result<Value, Refused> {
        let refused = self.desk.refuse(name).await;
        refused.map_err(|error| at_the_desk(&error))?;
        Ok(json!({"name": name}))
    }

    /// Notes which team carries a box; the team must be in the record.
    pub(super) async fn team(&self, name: String, team: Option<String>) -> Result<Value, Refused> {
        if let Some(team) = team.clone() {
            let id = team.strip_prefix("Organization/").map(str::to_owned);
            let found = match id {
                Some(id) => {
                    self.read(move |c| record::read(c, "Organization", &id))
                        .await?
                }
                None => None,
            };
            if found.is_none() {
                return Err(Refused {
                    chain: vec![format!(
                        "{team:?} is no team of the record: give a reference such as Organization/equipe1"
                    )],
                    code: "boxes.team.unknown".to_owned(),
                });
            }
        }
        let noted = self.inbox.set_team(name.clone(), team.clone()).await;
        let id = noted.map_err(|error| Refused::of(&error, error.code()))?;
        Ok(json!({"id": id.to_string(), "name": name, "team": team}))
    }

    pub(super) fn pause(&self, name: &str) -> Result<Value, Refused> {
        let failed = |error: crate::db::DbError| Refused::of(&error, error.code());
        let rows = self.inbox.boxes().map_err(failed)?;
        let known = rows.iter().find(|row| row.known.name == name);
        let told = known.is_some_and(|row| self.boxes.tell(row.known.id, CommandAction::Pause));
        if told {
            return Ok(json!({"name": name}));
        }
        Err(Refused {
            chain: vec![format!("{name} is not connected")],
            code: "boxes.away".to_owned(),
        })
    }

    pub(super) fn keys_list(&self) -> Result<Value, Refused> {
        let now = self.keys.trusted().map_err(|error| of_the_keys(&error))?;
        let behind = self.not_known_to_have(&now.ids())?;
        let entries = self.keys.entries();
        Ok(json!({"schema": "keys/1", "keys": entries, "boxes_behind": behind}))
    }

    pub(super) fn rotate(&self, purpose: Purpose) -> Result<Value, Refused> {
        let now = self.clock.read().utc;
        let rotated = match purpose {
            Purpose::Recipient => self.keys.rotate_recipient(now),
            Purpose::Control => self.keys.rotate_control(now),
        };
        let id = rotated.map_err(|error| of_the_keys(&error))?;
        let trusted = self.keys.trusted().map_err(|error| of_the_keys(&error))?;
        let told = self.boxes.tell_all(CommandAction::Rotate(trusted));
        tracing::info!(event = "KeysRotated", purpose = ?purpose, id, told);
        Ok(json!({"id": id, "told": told}))
    }

    pub(super) fn retire(&self, id: &str, anyway: bool) -> Result<Value, Refused> {
        let now = self.keys.trusted().map_err(|error| of_the_keys(&error))?;
        let boxes = self.not_known_to_have(&now.ids())?;
        if !anyway && !boxes.is_empty() {
            let id = id.to_owned();
            return Err(of_the_keys(&KeyError::Needed { id, boxes }));
        }
        let retired = self.keys.retire(id);
        retired.map_err(|error| of_the_keys(&error))?;
        tracing::warn!(event = "KeyRetired", id);
        Ok(json!({"id": id}))
    }

    /// Boxes that may connect and have not said, since the start, that they pin these keys.
    fn not_known_to_have(
        &self,
        keys: &cardio_wire::keys::TrustedKeyIds,
    ) -> Result<Vec<String>, Refused> {
        let failed = |error: crate::db::DbError| Refused::of(&error, error.code());
        let rows = self.inbox.boxes().map_err(failed)?;
        let behind = rows
            .into_iter()
            .filter(|row| row.revoked.is_none() && self.boxes.pins(row.known.id) != Some(*keys));
        Ok(behind.map(|row| row.known.name).collect())
    }
}
