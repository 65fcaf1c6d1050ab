//! The life of an alert once it is raised: told, delivered, seen, acknowledged by a named
//! person, escalated, closed with a reason.
//!
//! A life is the fold of its steps, in their order; steps are only ever added. Deliberately
//! absent: whose turn it is (see [`crate::duty`]), and how a message travels.

use std::collections::BTreeMap;

use cardio_core::clock::UtcMicros;
use serde::{Deserialize, Serialize};

/// One thing that happened to an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// A person is to be told.
    Told {
        /// The person, as a reference such as `PractitionerRole/cardio1`.
        who: String,
        /// Whether somebody else was told before and did not take it.
        escalated: bool,
    },
    /// The message arrived where the person receives messages.
    Delivered {
        /// The person.
        who: String,
        /// How: `mail` or `webhook`.
        channel: String,
    },
    /// No message to the person can arrive.
    Undeliverable {
        /// The person.
        who: String,
        /// Why, in a few words without an address.
        why: String,
    },
    /// The person has opened it.
    Seen {
        /// The person.
        who: String,
    },
    /// The person has taken it on.
    Acknowledged {
        /// The person.
        who: String,
    },
    /// The person has closed it.
    Closed {
        /// The person.
        who: String,
        /// Why it needs nobody any more.
        reason: CloseReason,
        /// In the person's words.
        note: Option<String>,
    },
}

/// Why an alert needs nobody any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// The patient is taken care of.
    CareGiven,
    /// True, and nothing is to be done about it.
    NoActionNeeded,
    /// What it says is not so.
    FalseAlarm,
    /// The equipment is in order again.
    EquipmentMended,
    /// Another alert says the same.
    Duplicate,
    /// As the note says.
    Other,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::CareGiven,
        Self::NoActionNeeded,
        Self::FalseAlarm,
        Self::EquipmentMended,
        Self::Duplicate,
        Self::Other,
    ];

    /// Stable name in commands, JSON and FHIR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CareGiven => "care-given",
            Self::NoActionNeeded => "no-action-needed",
            Self::FalseAlarm => "false-alarm",
            Self::EquipmentMended => "equipment-mended",
            Self::Duplicate => "duplicate",
            Self::Other => "other",
        }
    }

    /// The reason of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// With nobody yet.
    Raised,
    /// Where somebody receives messages.
    Delivered,
    /// Opened by somebody.
    Seen,
    /// Passed on to the next person.
    Escalated,
    /// A named person has it.
    Acknowledged,
    /// Needs nobody any more.
    Closed,
}

impl Stage {
    /// Stable name in JSON and FHIR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Delivered => "delivered",
            Self::Seen => "seen",
            Self::Escalated => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }
}

/// Why a step cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifeError {
    /// The alert is closed.
    #[error("the alert was closed by {who} ({}): nothing can be added", reason.name())]
    Closed {
        /// Who closed it.
        who: String,
        /// Why.
        reason: CloseReason,
    },
    /// Another person has it.
    #[error("the alert was acknowledged by {who} already; they can close it")]
    Taken {
        /// Who has it.
        who: String,
    },
    /// The reason does not say enough.
    #[error("the reason 'other' needs a note")]
    NoteMissing,
}

impl LifeError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "alert.closed",
            Self::Taken { .. } => "alert.taken",
            Self::NoteMissing => "alert.note-missing",
        }
    }
}

/// How a person stands to an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// How often the person was told.
    pub told: u32,
    /// When last.
    pub told_at: Option<UtcMicros>,
    /// When a message to the person last arrived.
    pub delivered_at: Option<UtcMicros>,
    /// Whether the last message cannot arrive.
    pub undeliverable: bool,
    /// When the person last opened it.
    pub seen_at: Option<UtcMicros>,
}

/// The life of one alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    stands: BTreeMap<String, Stand>,
    delivered: Option<UtcMicros>,
    seen: bool,
    escalated: bool,
    acknowledged: Option<(UtcMicros, String)>,
    closed: Option<(UtcMicros, String, CloseReason)>,
    changed: Option<UtcMicros>,
}

impl Life {
    /// The life that these steps make. Steps that could not be taken are passed over: they
    /// were refused when they were tried.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a (UtcMicros, Step)>) -> Self {
        let mut life = Self::default();
        for (at, step) in steps {
            // A stored step was taken once; a foreign one changes nothing.
            let _ = life.take(*at, step);
        }
        life
    }

    /// Takes a step. Answers whether it changes anything: acknowledging twice by one person
    /// does not.
    ///
    /// # Errors
    /// [`LifeError`] when the alert is closed, another person has it, or a note is missing.
    /// What travels (delivered, undeliverable, seen) is noted after the end too, without
    /// moving it.
    pub fn take(&mut self, at: UtcMicros, step: &Step) -> Result<bool, LifeError> {
        let changes = match step {
            Step::Told { who, escalated } => {
                self.must_be_open()?;
                let stand = self.stand(who);
                stand.told = stand.told.saturating_add(1);
                stand.told_at = Some(at);
                stand.undeliverable = false;
                self.escalated |= escalated;
                true
            }
            Step::Delivered { who, .. } => {
                self.delivered.get_or_insert(at);
                let stand = self.stand(who);
                stand.undeliverable = false;
                stand.delivered_at.replace(at) != Some(at)
            }
            Step::Undeliverable { who, .. } => {
                let stand = self.stand(who);
                !std::mem::replace(&mut stand.undeliverable, true)
            }
            Step::Seen { who } => {
                self.seen = true;
                self.stand(who).seen_at.replace(at) != Some(at)
            }
            Step::Acknowledged { who } => self.acknowledge(at, who)?,
            Step::Closed { who, reason, note } => {
                self.must_be_open()?;
                if *reason == CloseReason::Other && note.as_deref().is_none_or(str::is_empty) {
                    return Err(LifeError::NoteMissing);
                }
                self.closed = Some((at, who.clone(), *reason));
                true
            }
        };
        if changes {
            self.changed = Some(self.changed.map_or(at, |before| before.max(at)));
        }
        Ok(changes)
    }

    fn acknowledge(&mut self, at: UtcMicros, who: &str) -> Result<bool, LifeError> {
        self.must_be_open()?;
        match &self.acknowledged {
            Some((_, by)) if by == who => Ok(false),
            Some((_, by)) => Err(LifeError::Taken { who: by.clone() }),
            None => {
                self.acknowledged = Some((at, who.to_owned()));
                Ok(true)
            }
        }
    }

    fn must_be_open(&self) -> Result<(), LifeError> {
        match &self.closed {
            None => Ok(()),
            Some((_, who, reason)) => Err(LifeError::Closed {
                who: who.clone(),
                reason: *reason,
            }),
        }
    }

    fn stand(&mut self, who: &str) -> &mut Stand {
        self.stands.entry(who.to_owned()).or_default()
    }

    /// How far it has come.
    pub const fn stage(&self) -> Stage {
        if self.closed.is_some() {
            Stage::Closed
        } else if self.acknowledged.is_some() {
            Stage::Acknowledged
        } else if self.escalated {
            Stage::Escalated
        } else if self.seen {
            Stage::Seen
        } else if self.delivered.is_some() {
            Stage::Delivered
        } else {
            Stage::Raised
        }
    }

    /// How a person stands to it.
    pub fn of_person(&self, who: &str) -> Stand {
        self.stands.get(who).copied().unwrap_or_default()
    }

    /// Everybody who was told, or opened it.
    pub fn people(&self) -> impl Iterator<Item = (&str, &Stand)> {
        self.stands.iter().map(|(who, stand)| (who.as_str(), stand))
    }

    /// When a message first arrived with anybody.
    pub const fn delivered(&self) -> Option<UtcMicros> {
        self.delivered
    }

    /// Who has it, and since when.
    pub fn acknowledged(&self) -> Option<(UtcMicros, &str)> {
        let (at, who) = self.acknowledged.as_ref()?;
        Some((*at, who))
    }

    /// Who closed it, when and why.
    pub fn closed(&self) -> Option<(UtcMicros, &str, CloseReason)> {
        let (at, who, reason) = self.closed.as_ref()?;
        Some((*at, who, *reason))
    }

    /// Whether it still waits for a person.
    pub const fn waits(&self) -> bool {
        self.acknowledged.is_none() && self.closed.is_none()
    }

    /// When its life last changed.
    pub const fn changed(&self) -> Option<UtcMicros> {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(who: &str, escalated: bool) -> Step {
        Step::Told {
            who: who.to_owned(),
            escalated,
        }
    }

    fn acknowledged(who: &str) -> Step {
        Step::Acknowledged {
            who: who.to_owned(),
        }
    }

    fn closed(reason: CloseReason, note: Option<&str>) -> Step {
        Step::Closed {
            who: "b".to_owned(),
            reason,
            note: note.map(str::to_owned),
        }
    }

    #[test]
    fn an_alert_is_told_delivered_seen_taken_and_closed_with_a_reason() {
        let mut life = Life::default();
        let who = || "a".to_owned();
        let channel = "mail".to_owned();
        let steps = [
            (told("a", false), Stage::Raised),
            (
                Step::Delivered {
                    who: who(),
                    channel,
                },
                Stage::Delivered,
            ),
            (Step::Seen { who: who() }, Stage::Seen),
            (told("b", true), Stage::Escalated),
            (acknowledged("b"), Stage::Acknowledged),
            (closed(CloseReason::CareGiven, None), Stage::Closed),
        ];
        for (second, (step, stage)) in steps.into_iter().enumerate() {
            let at = UtcMicros(i64::try_from(second).unwrap());
            assert_eq!(life.take(at, &step), Ok(true), "{step:?}");
            assert_eq!(life.stage(), stage);
        }
        assert_eq!(life.acknowledged(), Some((UtcMicros(4), "b")));
        assert_eq!(life.delivered(), Some(UtcMicros(1)));
        assert_eq!(life.changed(), Some(UtcMicros(5)));
        assert_eq!(life.of_person("a").told, 1);
    }

    #[test]
    fn only_one_person_has_an_alert_and_a_closed_one_stays_closed() {
        let mut life = Life::default();
        assert_eq!(life.take(UtcMicros(1), &acknowledged("a")), Ok(true));
        assert_eq!(life.take(UtcMicros(2), &acknowledged("a")), Ok(false));
        let taken = life.take(UtcMicros(2), &acknowledged("b")).unwrap_err();
        assert_eq!(taken.code(), "alert.taken");
        let bare = life.take(UtcMicros(3), &closed(CloseReason::Other, None));
        assert_eq!(bare.unwrap_err(), LifeError::NoteMissing);
        let noted = closed(CloseReason::Other, Some("moved away"));
        assert_eq!(life.take(UtcMicros(3), &noted), Ok(true));
        for late in [told("c", true), acknowledged("a"), noted] {
            assert_eq!(
                life.take(UtcMicros(4), &late).unwrap_err().code(),
                "alert.closed"
            );
        }
        assert_eq!(life.stage(), Stage::Closed);
    }

    #[test]
    fn every_reason_is_found_again_by_its_name() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::from_name(reason.name()), Some(reason));
            assert_eq!(
                serde_json::to_value(reason).unwrap(),
                serde_json::json!(reason.name())
            );
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let who = prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
        (
            0..6_u8,
            who,
            any::<bool>(),
            proptest::option::of("[a-z]{0,2}"),
        )
            .prop_map(|(kind, who, flag, note)| match kind {
                0 => Step::Told {
                    who,
                    escalated: flag,
                },
                1 => Step::Delivered {
                    who,
                    channel: "mail".to_owned(),
                },
                2 => Step::Undeliverable {
                    who,
                    why: String::new(),
                },
                3 => Step::Seen { who },
                4 => Step::Acknowledged { who },
                _ => Step::Closed {
                    who,
                    reason: if flag {
                        CloseReason::Other
                    } else {
                        CloseReason::FalseAlarm
                    },
                    note,
                },
            })
    }

    proptest! {
        #[test]
        fn a_life_never_goes_back_from_a_person_to_nobody(
            steps in proptest::collection::vec(any_step(), 0..40)
        ) {
            let mut life = Life::default();
            let mut kept = Vec::new();
            for (at, step) in (0..).map(UtcMicros).zip(steps) {
                let before = life.clone();
                match life.take(at, &step) {
                    Ok(_) => kept.push((at, step)),
                    Err(_) => prop_assert_eq!(&life, &before, "a refused step changes nothing"),
                }
                if before.stage() >= Stage::Escalated {
                    prop_assert!(life.stage() >= before.stage());
                }
                if let Some((_, who)) = before.acknowledged() {
                    prop_assert_eq!(life.acknowledged().map(|(_, who)| who), Some(who));
                }
                let text = serde_json::to_string(&kept.last().map(|(_, step)| step)).unwrap();
                let read: Option<Step> = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read.as_ref(), kept.last().map(|(_, step)| step));
            }
            prop_assert_eq!(Life::of(&kept), life, "the kept steps give the same life");
        }
    }
}
