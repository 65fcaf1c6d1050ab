//! Which fault meets which frame: the plan of a scenario, turned into sample indexes.
//!
//! The same scenario, seed and device give the same plan. What a device cannot have is not played
//! on it ([`obstacle`]). Deliberately absent: bytes.

mod table;

use std::ops::Range;

use cardio_core::electrode::Electrode;
use cardio_core::lead::Lead;
use cardio_protocol::profile::WaveKind;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use crate::device::Device;
use crate::scenario::{Fault, FaultKind, RandomFaults, Scenario, Span};

pub use table::obstacle;

/// What happens to one frame on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameFaults {
    /// It is lost.
    pub drop: bool,
    /// It is sent twice.
    pub repeat: bool,
    /// Its last byte is inverted.
    pub corrupt: bool,
    /// It loses this many bytes at its end.
    pub cut: Option<usize>,
    /// It arrives behind the next one.
    pub swap: bool,
    /// This many bytes of noise come before it.
    pub garbage: usize,
    /// It is held back.
    pub stall: bool,
    /// The plug is out.
    pub unplug: bool,
    /// The device starts anew just before it.
    pub reboot: bool,
    /// It is one of several that come as one; the last of them shows, twice.
    pub coalesce: Option<Coalesced>,
    /// The device is out of reach.
    pub away: bool,
    /// The MTU changes just before it.
    pub mtu: Option<u16>,
    /// The device's clock jumps just before it, by milliseconds.
    pub clock_ms: Option<i64>,
    /// The battery has this charge from it on, in percent.
    pub battery: Option<u8>,
    /// So many commands are refused from it on.
    pub refusals: Option<u32>,
    /// The line runs at another speed.
    pub wrong_speed: bool,
}

/// Which of several values that come as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesced {
    /// One that nobody sees.
    Hidden,
    /// The last.
    Shown,
}

/// Something wrong with the signal itself, from one sample to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFault {
    /// Stable name: `electrode-off` or `saturate`.
    pub kind: &'static str,
    /// The electrode or the lead, by its name.
    pub subject: String,
    /// Rows of the device that stay at the rail.
    pub rows: Vec<usize>,
    /// Samples.
    pub span: Range<u64>,
}

#[derive(Clone, Debug)]
struct Planned {
    frames: Range<u64>,
    fault: Fault,
}

/// The plan.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    planned: Vec<Planned>,
    signal: Vec<SignalFault>,
    omitted: Vec<(FaultKind, &'static str)>,
    random: RandomFaults,
    frame_s: f64,
    chance: ChaCha8Rng,
    /// First frame behind a random loss that is under way.
    random_until: u64,
}

impl FaultPlan {
    /// The plan of a scenario for a device.
    pub fn new(scenario: &Scenario, device: &Device, seed: u64) -> Self {
        let per_frame = device.per_frame();
        let samples = |span: Span| device.rate().count_in_micros(span.micros()).0;
        let (mut played, mut omitted) = (Vec::new(), Vec::new());
        for fault in &scenario.faults {
            match obstacle(fault.kind(), device) {
                None => played.push(fault),
                Some(why) => omitted.push((fault.kind(), why)),
            }
        }
        let planned = played
            .iter()
            .map(|fault| Planned {
                frames: frames_of(fault, &samples, per_frame),
                fault: (*fault).clone(),
            })
            .collect();
        let signal = played
            .iter()
            .filter_map(|fault| signal_fault(fault, device, &samples))
            .collect();
        Self {
            planned,
            signal,
            omitted,
            random: scenario.random,
            frame_s: f64::from(u32::try_from(per_frame).unwrap_or(1)) / device.rate().as_hz(),
            chance: ChaCha8Rng::seed_from_u64(seed ^ 0x0F_A0_17),
            random_until: 0,
        }
    }

    /// What happens to frame `frame`. To be asked once for each frame, in order.
    pub fn next(&mut self, frame: u64) -> FrameFaults {
        let mut faults = self.by_chance(frame);
        for planned in self.planned.iter().filter(|p| p.frames.contains(&frame)) {
            match &planned.fault {
                Fault::Drop { .. } => faults.drop = true,
                Fault::Repeat { .. } => faults.repeat = true,
                Fault::Corrupt { .. } => faults.corrupt = true,
                Fault::Truncate { bytes, .. } => faults.cut = Some(*bytes),
                Fault::Swap { .. } => faults.swap = true,
                Fault::Stall { .. } => faults.stall = true,
                Fault::Garbage { bytes, .. } => faults.garbage = *bytes,
                Fault::Unplug { .. } => faults.unplug = true,
                Fault::Reboot { .. } => faults.reboot = true,
                Fault::Coalesce { .. } => {
                    let is_last = frame.saturating_add(1) == planned.frames.end;
                    faults.coalesce = Some(match is_last {
                        true => Coalesced::Shown,
                        false => Coalesced::Hidden,
                    });
                }
                Fault::Burst { frames, .. } => {
                    let place = frame.saturating_sub(planned.frames.start).saturating_add(1);
                    let is_last = frame.saturating_add(1) == planned.frames.end;
                    faults.stall = place % (*frames).max(1) != 0 && !is_last;
                }
                Fault::Disconnect { .. } => faults.away = true,
                Fault::Mtu { mtu, .. } => faults.mtu = Some(*mtu),
                Fault::ClockJump { by, back, .. } => {
                    let ms = i64::try_from(by.micros() / 1000).unwrap_or(i64::MAX);
                    faults.clock_ms = Some(if *back { ms.saturating_neg() } else { ms });
                }
                Fault::LowBattery { percent, .. } => faults.battery = Some(*percent),
                Fault::Errors { commands, .. } => faults.refusals = Some(*commands),
                Fault::WrongBaud { .. } => faults.wrong_speed = true,
                Fault::ElectrodeOff { .. } | Fault::Saturate { .. } => {}
            }
        }
        faults
    }

    /// What the scenario asks for and the device cannot have, with the reason.
    pub fn omitted(&self) -> &[(FaultKind, &'static str)] {
        &self.omitted
    }

    /// What is wrong with the signal, over the whole visit.
    pub fn signal(&self) -> &[SignalFault] {
        &self.signal
    }

    /// Bytes of noise.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.chance.fill_bytes(&mut bytes);
        bytes
    }

    fn by_chance(&mut self, frame: u64) -> FrameFaults {
        let random = self.random;
        let begins_drop = self.happens(random.drops_per_min);
        let repeat = self.happens(random.repeats_per_min);
        let corrupt = self.happens(random.corrupt_per_min);
        if begins_drop && frame >= self.random_until {
            let len = 1 + self.chance.next_u64() % random.drop_frames_max.max(1);
            self.random_until = frame.saturating_add(len);
        }
        FrameFaults {
            drop: frame < self.random_until,
            repeat,
            corrupt,
            ..FrameFaults::default()
        }
    }

    fn happens(&mut self, per_min: f64) -> bool {
        if per_min <= 0.0 {
            return false;
        }
        let drawn = f64::from(self.chance.next_u32()) / f64::from(u32::MAX);
        drawn < per_min / 60.0 * self.frame_s
    }
}

fn frames_of(fault: &Fault, samples: &impl Fn(Span) -> u64, per_frame: u64) -> Range<u64> {
    let first = |at: &Span| samples(*at) / per_frame;
    let count = |at: &Span, frames: u64| first(at)..first(at).saturating_add(frames);
    let lasting = |at: &Span, len: &Span| {
        let frames = samples(*len).div_ceil(per_frame);
        count(at, frames.max(1))
    };
    match fault {
        Fault::Drop {
            at,
            frames,
            lasting: Some(len),
        } => {
            let by_time = lasting(at, len);
            by_time.start
                ..by_time
                    .end
                    .max(by_time.start.saturating_add(frames.unwrap_or(0)))
        }
        Fault::Drop { at, frames, .. } => count(at, frames.unwrap_or(1)),
        Fault::Repeat { at, frames }
        | Fault::Corrupt { at, frames }
        | Fault::Truncate { at, frames, .. }
        | Fault::Coalesce { at, frames } => count(at, *frames),
        Fault::Swap { at }
        | Fault::Garbage { at, .. }
        | Fault::Reboot { at }
        | Fault::Mtu { at, .. }
        | Fault::ClockJump { at, .. }
        | Fault::LowBattery { at, .. }
        | Fault::Errors { at, .. } => count(at, 1),
        Fault::Stall { at, lasting: len }
        | Fault::Unplug { at, lasting: len }
        | Fault::Disconnect { at, lasting: len }
        | Fault::WrongBaud { at, lasting: len }
        | Fault::Burst {
            at, lasting: len, ..
        } => lasting(at, len),
        Fault::ElectrodeOff { .. } | Fault::Saturate { .. } => 0..0,
    }
}

fn signal_fault(
    fault: &Fault,
    device: &Device,
    samples: &impl Fn(Span) -> u64,
) -> Option<SignalFault> {
    let (kind, subject, leads, at, lasting) = match fault {
        Fault::ElectrodeOff {
            electrode,
            at,
            lasting,
        } => {
            let electrode = Electrode::from_letter(electrode)?;
            let leads = electrode.measured_leads().to_vec();
            (
                "electrode-off",
                electrode.iec().to_owned(),
                leads,
                at,
                lasting,
            )
        }
        Fault::Saturate {
            lead: Some(lead),
            at,
            lasting,
        } => {
            let lead = Lead::from_label(lead)?;
            ("saturate", lead.name().to_owned(), vec![lead], at, lasting)
        }
        Fault::Saturate { at, lasting, .. } => {
            ("saturate", "all".to_owned(), Vec::new(), at, lasting)
        }
        _ => return None,
    };
    let of_all = leads.is_empty();
    let rows: Vec<usize> = device
        .waves
        .iter()
        .enumerate()
        .filter(|(_, wave)| match wave {
            _ if of_all => true,
            WaveKind::Ecg(lead) => leads.contains(lead),
            // A strap of two electrodes rests on what lead I rests on.
            WaveKind::EcgOther(_) => leads.contains(&Lead::I),
            WaveKind::HeartSound => false,
        })
        .map(|(row, _)| row)
        .collect();
    let first = samples(*at);
    (!rows.is_empty()).then(|| SignalFault {
        kind,
        subject,
        rows,
        span: first..first.saturating_add(samples(*lasting)),
    })
}

#[cfg(test)]
mod tests {
    use super::FaultPlan;
    use crate::device::Device;
    use crate::scenario::Scenario;

    fn plan(device: &str, text: &str) -> FaultPlan {
        let scenario = Scenario::from_toml("test", text).unwrap();
        FaultPlan::new(&scenario, &Device::by_name(device).unwrap(), 1)
    }

    #[test]
    fn a_loss_in_time_covers_the_frames_of_that_time() {
        let text = "[[fault]]\nkind = \"drop\"\nat = \"2s\"\nfor = \"1s\"\n";
        for (device, first, last) in [
            ("openbci-cyton", 500, 749),
            ("protocentral-openview", 32, 47),
        ] {
            let mut plan = plan(device, text);
            let dropped: Vec<u64> = (0..2000).filter(|frame| plan.next(*frame).drop).collect();
            assert_eq!((dropped[0], *dropped.last().unwrap()), (first, last));
            assert_eq!(dropped.len(), usize::try_from(last - first + 1).unwrap());
        }
    }

    #[test]
    fn an_electrode_takes_the_rows_that_rest_on_it() {
        let text =
            "[[fault]]\nkind = \"electrode-off\"\nelectrode = \"R\"\nat = \"1s\"\nfor = \"2s\"\n";
        let plan = plan("openbci-cyton", text);
        let fault = &plan.signal()[0];
        assert_eq!(
            (fault.rows.as_slice(), fault.span.clone()),
            (&[0, 1][..], 250..750)
        );
    }

    #[test]
    fn chance_is_seeded_and_about_as_frequent_as_asked() {
        let text = "[random]\ndrops_per_min = 30\ndrop_frames_max = 3\n";
        let run = || {
            let mut plan = plan("openbci-cyton", text);
            (0..15_000)
                .filter(|frame| plan.next(*frame).drop)
                .collect::<Vec<u64>>()
        };
        let dropped = run();
        assert_eq!(dropped, run());
        // 30 losses of 2 frames on average in one minute.
        assert!((30..=100).contains(&dropped.len()), "{}", dropped.len());
    }
}
