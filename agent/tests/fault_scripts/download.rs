//! Downloads under scripts of faults by chance: what a sensor keeps, fetched over values that are
//! lost, repeated, late or refused, links that break and sensors that start anew in the middle.
//!
//! The sensors' own memories and the box's own conversations, in virtual time. Demanded is that
//! every recording is there to the byte, once, and that a sensor drops only what was stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_protocol::gatt::movesense_gsp::MovesensePeripheral;
use cardio_protocol::gatt::viatom_er1::{ViatomPeripheral, recording};
use cardio_protocol::gatt::{GattAction, GattPeripheral, Notification, by_name};
use cardio_protocol::kept::{KeptLabel, KeptSession, KeptState};
use cardio_protocol::session::SessionTiming;
use cardio_protocol::smp_records::RecordsPeripheral;

use crate::script::Chance;
use crate::wide;

/// The sensors that keep recordings.
pub(crate) const KEEPERS: [&str; 3] = ["viatom-er1", "movesense-gsp", "smp-records"];
/// Faults of one script, at most, and values between two of them.
const FAULTS_MAX: u64 = 12;
const APART: u64 = 40;
const STEP_US: u64 = 100_000;
const STEPS_MAX: u64 = 100_000;

/// What happens to a value on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Lost,
    Twice,
    /// It comes behind the next one.
    Late,
    /// The link breaks with it.
    Disconnect,
    /// The sensor is switched off and on.
    Reboot,
    /// The firmware refuses the next command.
    Refused,
}

const KINDS: [Fault; 6] = [
    Fault::Lost,
    Fault::Twice,
    Fault::Late,
    Fault::Disconnect,
    Fault::Reboot,
    Fault::Refused,
];

/// A visit to a sensor that keeps recordings; how many faults met it, and what is wrong.
pub(crate) fn visit(device: &str, chance: &mut Chance) -> (u64, Option<String>) {
    let (mut keeper, kept) = keeper(device, chance);
    let mut at = 0;
    let faults: BTreeMap<u64, Fault> = (0..chance.below(FAULTS_MAX + 1))
        .map(|_| {
            at += 1 + chance.below(APART);
            let kind = usize::try_from(chance.below(wide(KINDS.len()))).unwrap();
            (at, KINDS[kind])
        })
        .collect();
    let make = by_name(device).unwrap().kept.unwrap();
    let mut fetch = Fetch {
        session: make(SessionTiming::default()),
        faults: faults.clone(),
        told: 0,
        late: None,
        refusals: 0,
        now_us: 0,
        stored: Vec::new(),
        known: BTreeSet::new(),
    };
    let why = fetch.run(&mut *keeper).err().or_else(|| {
        // a watch puts a head of its own before its samples
        let is_of = |file: &Vec<u8>, bytes: &Vec<u8>| file.ends_with(bytes);
        let whole = kept.iter().filter(|bytes| {
            fetch
                .stored
                .iter()
                .filter(|file| is_of(file, bytes))
                .count()
                == 1
        });
        let (whole, stored) = (whole.count(), fetch.stored.len());
        (whole != kept.len() || stored != kept.len()).then(|| {
            format!(
                "{} were kept, {stored} came of it, {whole} of them whole",
                kept.len()
            )
        })
    });
    let why = why.map(|why| format!("{why} #{faults:?}"));
    (wide(faults.len()), why)
}

/// A sensor, and the files of what it keeps.
fn keeper(device: &str, chance: &mut Chance) -> (Box<dyn GattPeripheral>, Vec<Vec<u8>>) {
    let count = 1 + chance.below(3);
    let mut bytes = |len: u64| -> Vec<u8> {
        (0..len)
            .map(|_| u8::try_from(chance.below(256)).unwrap())
            .collect()
    };
    match device {
        "viatom-er1" => {
            let mut patch = ViatomPeripheral::default();
            let kept = (0..count).map(|number| {
                let counts: Vec<i16> = bytes(800).into_iter().map(i16::from).collect();
                let file = recording(&counts);
                patch.keep_file(&format!("R2026010{number}080000"), file.clone());
                file
            });
            let kept = kept.collect();
            (Box::new(patch), kept)
        }
        "movesense-gsp" => {
            let mut strap = MovesensePeripheral::default();
            let kept = (0..count).map(|number| {
                let log = bytes(1500);
                strap.keep_log(u32::try_from(number).unwrap() + 1, log.clone());
                log
            });
            let kept = kept.collect();
            (Box::new(strap), kept)
        }
        _ => {
            let mut watch = RecordsPeripheral::default();
            let kept = (0..count).map(|number| {
                let samples = bytes(2000);
                watch.keep(u32::try_from(number).unwrap() + 1, samples.clone());
                samples
            });
            let kept = kept.collect();
            (Box::new(watch), kept)
        }
    }
}

struct Fetch {
    session: Box<dyn KeptSession>,
    faults: BTreeMap<u64, Fault>,
    told: u64,
    late: Option<Notification>,
    refusals: u32,
    now_us: u64,
    stored: Vec<Vec<u8>>,
    known: BTreeSet<KeptLabel>,
}

impl Fetch {
    /// Fetches until nothing is left.
    fn run(&mut self, keeper: &mut dyn GattPeripheral) -> Result<(), String> {
        let mut actions = self.connect();
        for _ in 0..STEPS_MAX {
            self.now_us += STEP_US;
            if !self.carry(&mut actions, keeper) {
                actions = self.reconnect(keeper);
                continue;
            }
            if let Some(why) = self.session.given_up() {
                return Err(why.to_string());
            }
            let now = self.now().box_instant;
            let next = match self.session.state().clone() {
                KeptState::Done => return Ok(()),
                KeptState::Failed(_) => {
                    actions = self.reconnect(keeper);
                    continue;
                }
                KeptState::Offering(label) if self.known.contains(&label) => {
                    self.session.stored(now)
                }
                KeptState::Offering(_) => self.session.want(now),
                KeptState::Holding(label) => {
                    if let Some(kept) = self.session.take() {
                        self.stored.push(kept.bytes);
                        self.known.insert(label);
                    }
                    self.session.stored(now)
                }
                KeptState::Idle | KeptState::Running => self.session.on_tick(now),
            };
            actions = next.into();
        }
        Err(format!("it does not end: {:?}", self.session.state()))
    }

    fn now(&self) -> ClockReading {
        ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: self.now_us,
            },
            utc: UtcMicros(1_767_225_600_000_000),
            quality: ClockQuality::Unsynchronised,
        }
    }

    fn connect(&mut self) -> VecDeque<GattAction> {
        self.late = None;
        self.session.start(self.now()).into()
    }

    fn reconnect(&mut self, keeper: &mut dyn GattPeripheral) -> VecDeque<GattAction> {
        keeper.disconnect();
        keeper.set_mtu(247);
        self.connect()
    }

    /// Carries actions and values to and fro until both sides are quiet; `false` when the link ended.
    fn carry(
        &mut self,
        actions: &mut VecDeque<GattAction>,
        keeper: &mut dyn GattPeripheral,
    ) -> bool {
        while let Some(action) = actions.pop_front() {
            if self.refusals > 0 && matches!(action, GattAction::Write { .. }) {
                self.refusals -= 1;
                return false;
            }
            let mut sent = Vec::new();
            keeper.obey(action, &mut sent);
            for value in sent {
                self.told += 1;
                let now = match self.faults.remove(&self.told) {
                    None => vec![value],
                    Some(Fault::Lost) => Vec::new(),
                    Some(Fault::Twice) => vec![value.clone(), value],
                    Some(Fault::Late) => self.late.replace(value).into_iter().collect(),
                    Some(Fault::Disconnect) => return false,
                    Some(Fault::Reboot) => {
                        keeper.power_cycle();
                        return false;
                    }
                    Some(Fault::Refused) => {
                        self.refusals += 1;
                        vec![value]
                    }
                };
                let late = if now.is_empty() {
                    None
                } else {
                    self.late.take()
                };
                for Notification { from, value } in now.into_iter().chain(late) {
                    let at = self.now().box_instant;
                    actions.extend(self.session.on_value(from, &value, at, &mut Vec::new()));
                }
            }
        }
        true
    }
}
