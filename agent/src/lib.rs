//! The box: captures, scores, seals, stores and forwards.
//!
//! One task per sensor reads its port and runs its pipeline; one recorder per sensor makes
//! records of what comes out and waits until each is on disk; one uplink sends what is on
//! disk and keeps it until the gateway's signed acknowledgement. Deliberately absent: any
//! key that opens a stored record, identity of patients, and diagnosis.
//!
//! | module | holds |
//! | --- | --- |
//! | [`cli`] | the verbs of the command line |
//! | [`config`], [`enrolment`] | what the box is told, and who it is |
//! | [`clock`] | the only reader of clocks |
//! | [`hygiene`] | no core dumps, no files for others |
//! | [`adapters`] | serial ports and the radio as bytes with arrival times |
//! | [`capture`] | one task per sensor: link, conversation, pipeline |
//! | [`replay`] | a capture log, played again, and what was found |
//! | [`fetch`] | one task per sensor whose own recordings are fetched |
//! | [`pairings`] | which radio sensor belongs to which source |
//! | [`pipeline`] | frames to segments, gaps and assessments, without IO |
//! | [`recorder`], [`missed`], [`sink`] | what comes out as records, each on disk before the next |
//! | [`renewal`] | the certificate, renewed in time |
//! | [`telling`], [`power`] | how the box is, told to the gateway now and then |
//! | [`tls`] | how this box speaks TLS, at which time |
//! | [`import`] | files of recorders as records |
//! | [`uplink`] | frames to the gateway, acknowledgements back |
//! | [`worklist`] | the visits of the day, and the one that was chosen |
//! | [`service`] | all of it, started and ended in order |
//! | [`status`], [`control`], [`telemetry`] | what the running agent tells about itself |
//! | [`backoff`], [`ids`] | waits between tries, names of records |

pub mod adapters;
pub mod backoff;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod enrolment;
pub mod fetch;
pub mod hygiene;
pub mod ids;
pub mod import;
pub mod missed;
pub mod pairings;
pub mod pipeline;
pub mod power;
pub mod recorder;
pub mod renewal;
pub mod replay;
pub mod service;
pub mod sink;
pub mod status;
pub mod telemetry;
pub mod telling;
pub mod tls;
pub mod uplink;
pub mod worklist;

#[cfg(test)]
mod testing;
