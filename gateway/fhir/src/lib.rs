//! The record as FHIR R4 (4.0.1) resources: pure functions from facts to JSON.
//!
//! The same facts give the same resource with the same id, so that filing can be repeated.
//! Deliberately absent: storage, HTTP, clocks, and every fact that was not given. A profile is
//! claimed only when everything that it demands is known.
//!
//! | module | holds |
//! | --- | --- |
//! | [`patient`], [`ins`] | identity by the French rules |
//! | [`device`] | the box, the sensors, the tie between their clocks |
//! | [`waveform`] | spans of an ECG as sampled data |
//! | [`measure`] | heart rate, quality, gaps |
//! | [`told`] | RR intervals and battery, as a sensor told them |
//! | [`report`] | the exam, its original file, its origin |
//! | [`alert`] | what was found, who was told, what is to be done |
//! | [`audit`] | who did what |
//! | [`rest`] | bundles, errors, what a server can do |
//! | [`shape`] | what others may write |
//! | [`index`] | what a resource is searched by |
//! | [`ids`], [`codes`], [`time`] | logical ids, addresses, instants |

pub mod alert;
pub mod audit;
pub mod codes;
pub mod device;
mod element;
pub mod ids;
pub mod index;
pub mod indicator;
pub mod ins;
pub mod measure;
pub mod patient;
pub mod pseudonym;
pub mod report;
pub mod rest;
pub mod shape;
pub mod time;
pub mod told;
pub mod waveform;

pub use element::reference;
