//! The device itself: commands in, bytes out, by a time that is an argument.
//!
//! The heart does not wait: from the first sample on, samples are taken at the device's
//! rate, whether they are sent, lost or unheard. Deliberately absent: ports and clocks.

mod air;
mod asked;
mod deliver;

use std::collections::VecDeque;

use cardio_protocol::gatt::Uuid;
use cardio_signal::synth::to_adu;

use crate::device::{Device, Firmware, Packet};
use crate::faults::{FaultPlan, SignalFault};
use crate::ledger::{EndReason, Entry, LossCause};
use crate::source::SignalSource;
use asked::Waiting;

/// What the far end of the line is like right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Somebody has the port open.
    pub heard: bool,
    /// At the device's speed.
    pub right_speed: bool,
}

/// Bytes for the line, with the line of the ledger that tells of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The characteristic that sends them, on Bluetooth.
    pub from: Option<Uuid>,
    /// The bytes; none when there is only something to tell.
    pub bytes: Vec<u8>,
    /// What the ledger says once the bytes are on the line.
    pub entry: Option<Entry>,
    /// What happens to the link, on Bluetooth.
    pub change: Option<LinkFault>,
}

/// What happens to a link in the air, in order with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// The link breaks; the device can be connected to again at once.
    Drop,
    /// The device is out of reach, or back.
    Away(bool),
    /// The MTU changes.
    Mtu(u16),
}

impl Outgoing {
    /// Something to tell, without a byte.
    const fn tale(entry: Entry) -> Self {
        Self {
            from: None,
            bytes: Vec::new(),
            entry: Some(entry),
            change: None,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before this instant.
    At(u64),
    /// Nothing until a command comes or the port is opened.
    Idle,
    /// The visit is over.
    Ended(EndReason),
}

/// How a device is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// How many times faster than life.
    pub speed: f64,
    /// How much faster than nominal the device's clock runs.
    pub clock_ppm: f64,
    /// Samples after which the visit is over.
    pub samples: u64,
}

/// A simulated device.
pub struct Player {
    device: Device,
    firmware: Firmware,
    source: Box<dyn SignalSource>,
    wired: Vec<bool>,
    plan: FaultPlan,
    pacing: Pacing,
    /// When the first sample was taken.
    start_us: Option<u64>,
    /// The next frame.
    frame: u64,
    ended: Option<EndReason>,
    unplugged: bool,
    away: bool,
    linked: bool,
    /// Charge of the battery, once a fault has set it.
    battery: Option<u8>,
    /// Commands that are still to be refused.
    refusals: u32,
    /// The line runs at another speed.
    wrong_speed: bool,
    /// Its frames carry the time of a clock of its own.
    has_clock: bool,
    row: Vec<f64>,
    absent_since: Vec<Option<u64>>,
    losing: Option<(LossCause, u64, u64)>,
    swapped: Option<Vec<Packet>>,
    held: VecDeque<Outgoing>,
    stalled: Option<(u64, u64)>,
    /// What was measured and not yet asked for.
    waiting: Option<Waiting>,
    /// It holds recordings from before the visit.
    keeps: bool,
    out: VecDeque<Outgoing>,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Player")
            .field("device", &self.device.name)
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

impl Player {
    /// A device that is switched on. `wired` says which rows show something.
    pub fn new(
        device: Device,
        source: Box<dyn SignalSource>,
        wired: Vec<bool>,
        plan: FaultPlan,
        pacing: Pacing,
    ) -> Self {
        let rows = device.waves.len();
        let omitted = plan.omitted().iter();
        let out = omitted.map(|(fault, why)| Outgoing::tale(Entry::Omitted { fault: *fault, why }));
        Self {
            out: out.collect(),
            firmware: device.firmware(),
            source,
            wired,
            plan,
            pacing,
            start_us: None,
            frame: 0,
            ended: None,
            unplugged: false,
            away: false,
            linked: false,
            battery: None,
            refusals: 0,
            wrong_speed: false,
            has_clock: device.tells_time(),
            row: vec![0.0; rows],
            absent_since: vec![None; rows],
            losing: None,
            swapped: None,
            held: VecDeque::new(),
            stalled: None,
            waiting: None,
            keeps: false,
            device,
        }
    }

    /// Index of the next sample.
    pub fn position(&self) -> u64 {
        self.frame.saturating_mul(self.per_frame())
    }

    /// Puts a recording into the device's memory, of a heart that was before the visit. Whether it
    /// has one.
    pub fn keep(&mut self, mut heart: Box<dyn SignalSource>, samples: u64) -> bool {
        let mut row = Vec::new();
        let mut millivolts = vec![0.0; self.row.len()];
        for _ in 0..samples {
            if !heart.next_row(&mut millivolts) {
                break;
            }
            let shown = millivolts.first().filter(|value| !value.is_nan());
            let shown = shown.copied().unwrap_or(0.0);
            row.push(to_adu(shown, &self.device.converter, self.device.rails));
        }
        let Some(name) = self.firmware.keep(&row) else {
            return false;
        };
        self.keeps = true;
        self.tell(Entry::Kept { name, row });
        true
    }

    /// Whether the plug is out.
    pub const fn is_unplugged(&self) -> bool {
        self.unplugged
    }

    /// Bytes and ledger lines that are ready, oldest first.
    pub fn take_out(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// Takes bytes from the host.
    pub fn on_bytes(&mut self, bytes: &[u8], now_us: u64, line: Line) {
        let unread = !line.right_speed || self.wrong_speed || self.unplugged;
        if unread || self.ended.is_some() {
            return;
        }
        let i = self.position();
        let Firmware::Serial {
            encoder,
            peripheral,
        } = &mut self.firmware
        else {
            return;
        };
        let was_streaming = peripheral.is_streaming();
        let (mut answer, mut commands) = (Vec::new(), Vec::new());
        if self.refusals > 0 && !bytes.is_empty() {
            self.refusals -= 1;
            peripheral.refuse(bytes, &mut answer);
            let entry = Entry::Refused { i, t_us: now_us };
            self.out.push_back(Outgoing::tale(entry));
        } else {
            peripheral.on_bytes(bytes, &mut answer, &mut commands);
        }
        if peripheral.is_streaming() && !was_streaming {
            encoder.reset();
        }
        for name in commands {
            let entry = Some(Entry::Command {
                name,
                i,
                t_us: now_us,
            });
            self.out.extend(entry.map(Outgoing::tale));
        }
        if !answer.is_empty() {
            self.out.push_back(Outgoing {
                from: None,
                bytes: answer,
                entry: None,
                change: None,
            });
        }
    }

    /// Takes all samples that are due by now.
    pub fn poll(&mut self, now_us: u64, line: Line) -> Next {
        let has_something = self.firmware.is_streaming() || self.keeps;
        if self.start_us.is_none() && line.heard && has_something {
            self.start_us = Some(now_us);
        }
        let Some(start_us) = self.start_us else {
            return Next::Idle;
        };
        while self.ended.is_none() {
            let due = self.due_us(start_us);
            if due > now_us {
                return Next::At(due);
            }
            self.step(due, line);
        }
        self.ended.map_or(Next::Idle, Next::Ended)
    }

    fn per_frame(&self) -> u64 {
        self.device.per_frame()
    }

    fn due_us(&self, start_us: u64) -> u64 {
        let end = cardio_core::index::SampleIndex(self.position().saturating_add(self.per_frame()));
        let micros = self.device.rate().micros_at(end);
        let stretch = 1.0 / (self.pacing.speed.max(1e-3) * (1.0 + self.pacing.clock_ppm * 1e-6));
        let span = std::time::Duration::from_micros(micros).mul_f64(stretch.max(0.0));
        start_us.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    /// Takes one frame of samples and lets it meet its faults.
    fn step(&mut self, due_us: u64, line: Line) {
        let first = self.position();
        if first >= self.pacing.samples {
            return self.end(EndReason::Duration);
        }
        let faults = self.plan.next(self.frame);
        let Some(rows) = self.take_rows(first) else {
            return self.end(EndReason::SourceEnded);
        };
        self.frame = self.frame.saturating_add(1);
        self.tell_signal_faults(first);
        let is_off = |fault: &SignalFault| fault.span.contains(&first);
        let off = self.plan.signal().iter().any(is_off);
        self.firmware.set_contact(!off);
        if faults.reboot || faults.unplug != self.unplugged {
            self.unplugged = faults.unplug;
            self.firmware.power_cycle();
        }
        self.meet_link_faults(first, &faults);
        if !faults.stall {
            self.release();
        }
        self.deliver(first, &rows, faults, due_us, line);
        for mark in self.source.take_marks() {
            self.tell(Entry::Mark {
                i: mark.at.0,
                code: mark.code,
            });
        }
    }

    fn take_rows(&mut self, first: u64) -> Option<Vec<Vec<i32>>> {
        let mut rows = vec![Vec::with_capacity(self.device.samples_per_frame); self.row.len()];
        for at in first..first.saturating_add(self.per_frame()) {
            if !self.source.next_row(&mut self.row) {
                return None;
            }
            self.note_absence(at);
            for (counts, millivolts) in rows.iter_mut().zip(&self.row) {
                let shown = if millivolts.is_nan() {
                    0.0
                } else {
                    *millivolts
                };
                counts.push(to_adu(shown, &self.device.converter, self.device.rails));
            }
            // a device that sees beats has no rail to go to: it says that contact is lost
            let saturates =
                |fault: &&SignalFault| !self.device.sees_beats() && fault.span.contains(&at);
            for fault in self.plan.signal().iter().filter(saturates) {
                for row in &fault.rows {
                    if let Some(last) = rows.get_mut(*row).and_then(|row| row.last_mut()) {
                        *last = match fault.kind {
                            "electrode-off" => self.device.without_contact(),
                            _ => self.device.highest(),
                        };
                    }
                }
            }
        }
        Some(rows)
    }

    fn note_absence(&mut self, at: u64) {
        for row in 0..self.row.len() {
            let wired = self.wired.get(row).copied().unwrap_or(false);
            let nothing = wired && self.row.get(row).is_some_and(|value| value.is_nan());
            let since = self.absent_since.get(row).copied().flatten();
            match (since, nothing) {
                (None, true) => self.set_absent(row, Some(at)),
                (Some(from), false) => {
                    self.set_absent(row, None);
                    self.tell_absence(row, from, at);
                }
                _ => {}
            }
        }
    }

    fn set_absent(&mut self, row: usize, since: Option<u64>) {
        if let Some(place) = self.absent_since.get_mut(row) {
            *place = since;
        }
    }

    fn tell_absence(&mut self, row: usize, from: u64, to: u64) {
        let lead = self.device.labels().get(row).cloned().unwrap_or_default();
        self.tell(Entry::Absent {
            lead,
            from,
            len: to.saturating_sub(from),
        });
    }

    fn tell_signal_faults(&mut self, first: u64) {
        let labels = self.device.labels();
        let end = first.saturating_add(self.per_frame());
        let told: Vec<Entry> = self
            .plan
            .signal()
            .iter()
            .filter(|fault| (first..end).contains(&fault.span.start))
            .map(|fault| Entry::Signal {
                kind: fault.kind,
                subject: fault.subject.clone(),
                leads: fault
                    .rows
                    .iter()
                    .filter_map(|row| labels.get(*row).cloned())
                    .collect(),
                from: fault.span.start,
                len: fault.span.end.saturating_sub(fault.span.start),
            })
            .collect();
        for entry in told {
            self.tell(entry);
        }
    }

    fn release(&mut self) {
        if let Some((from, end)) = self.stalled.take() {
            let len = end.saturating_sub(from);
            self.out.append(&mut self.held);
            self.tell(Entry::Stall { from, len });
        }
    }

    fn lose(&mut self, cause: LossCause, i: u64) {
        self.lose_span(cause, i, self.per_frame());
    }

    fn lose_span(&mut self, cause: LossCause, i: u64, len: u64) {
        match &mut self.losing {
            Some((known, from, lost)) if *known == cause && from.saturating_add(*lost) == i => {
                *lost = lost.saturating_add(len);
            }
            _ => {
                self.tell_loss();
                self.losing = Some((cause, i, len));
            }
        }
    }

    fn tell_loss(&mut self) {
        if let Some((cause, from, len)) = self.losing.take() {
            self.tell(Entry::Lost { from, len, cause });
        }
    }

    fn tell(&mut self, entry: Entry) {
        self.out.push_back(Outgoing::tale(entry));
    }

    fn end(&mut self, reason: EndReason) {
        self.release();
        self.forget_waiting(LossCause::NotStreaming);
        self.tell_loss();
        let end = self.position();
        for row in 0..self.absent_since.len() {
            if let Some(from) = self.absent_since.get(row).copied().flatten() {
                self.tell_absence(row, from, end);
            }
        }
        self.ended = Some(reason);
    }
}

#[cfg(test)]
mod air_tests;
#[cfg(test)]
mod tests;
