//! Alert rules and alert states, pure.
//!
//! Facts go in, alerts come out; the same facts give the same alerts, however often and in
//! whatever pieces they are delivered. Deliberately absent: clocks, storage, and how
//! messages travel.
//!
//! | module | holds |
//! | --- | --- |
//! | [`kind`] | the conditions that a rule can watch |
//! | [`rule`] | rules as data, read from TOML, refused when impossible |
//! | [`fact`] | what the engine is told |
//! | [`engine`], [`state`] | from facts to alerts, and what is remembered |
//! | [`life`], [`duty`] | what people do with an alert, and whose turn it is |
//! | [`alert`], [`words`] | an alert with what explains it, and in French and English |

pub mod alert;
pub mod duty;
pub mod engine;
pub mod fact;
pub mod kind;
pub mod life;
mod parse;
pub mod rule;
pub mod state;
pub mod words;

pub use alert::{Alert, AlertEvent, EndReason, Ended};
pub use duty::{DutyError, Roster};
pub use engine::{Engine, EngineState};
pub use fact::{Algorithm, Fact, Quantity, Reading, Rhythm};
pub use kind::{Family, Kind};
pub use parse::{MAX_PATIENTS, MAX_RULES};
pub use rule::{Priority, RuleError, RuleSet};
pub use words::Language;
