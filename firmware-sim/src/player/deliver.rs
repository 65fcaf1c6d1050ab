//! A frame on its way, and what it meets.

use cardio_protocol::decoder::FrameRows;

use super::{Line, Outgoing, Player};
use crate::device::{Device, Packet, Transport};
use crate::faults::{Coalesced, FrameFaults};
use crate::ledger::{Entry, LossCause};

impl Player {
    pub(super) fn deliver(
        &mut self,
        i: u64,
        rows: &[Vec<i32>],
        faults: FrameFaults,
        due_us: u64,
        line: Line,
    ) {
        if self.firmware.waiting().is_some() {
            return self.wait_for_question(i, rows, faults, line);
        }
        if let Some(cause) = self.silence(faults, line) {
            // A clock runs whether its device sends or not.
            if self.firmware.is_streaming() || self.has_clock {
                self.firmware.skip(1);
            }
            return self.lose(cause, i);
        }
        if faults.drop {
            self.firmware.skip(1);
            return self.lose(LossCause::Drop, i);
        }
        if faults.garbage > 0 {
            self.send_garbage(i, faults);
        }
        let seq = self.firmware.next_seq();
        let mut packets = self.firmware.frame(&planar(rows, &self.device));
        if packets.is_empty() {
            return self.lose(LossCause::NotConnected, i);
        }
        if faults.coalesce == Some(Coalesced::Hidden) {
            return self.lose(LossCause::Coalesce, i);
        }
        if let Some(cause) = self.damage(&mut packets, faults, line) {
            self.lose(cause, i);
            return self.send(packets, None, faults.stall, i);
        }
        if faults.swap && self.can_be_late() {
            self.lose(LossCause::Swap, i);
            self.swapped = Some(packets);
            return;
        }
        let entry = Entry::Frame {
            i,
            seq,
            t_us: due_us,
            rows: rows.to_vec(),
        };
        self.tell_loss();
        self.send(packets.clone(), Some(entry), faults.stall, i);
        if let Some(late) = self.swapped.take() {
            self.send(late, None, faults.stall, i);
        }
        if faults.repeat || faults.coalesce == Some(Coalesced::Shown) {
            self.send(packets, Some(Entry::Repeat { i }), faults.stall, i);
        }
    }

    pub(super) const fn is_on_air(&self) -> bool {
        matches!(self.device.transport, Transport::Bluetooth(_))
    }

    /// Whether a frame that comes behind its successor can be told from a new one.
    fn can_be_late(&self) -> bool {
        self.device.modulus.is_some() || self.is_on_air()
    }

    pub(super) fn silence(&self, faults: FrameFaults, line: Line) -> Option<LossCause> {
        match (faults, line) {
            (FrameFaults { unplug: true, .. }, _) => Some(LossCause::Unplug),
            (FrameFaults { away: true, .. }, _) => Some(LossCause::Disconnect),
            (_, Line { heard: false, .. }) if self.is_on_air() => Some(LossCause::NotConnected),
            (_, Line { heard: false, .. }) => Some(LossCause::PortClosed),
            _ if !self.firmware.is_streaming() => Some(LossCause::NotStreaming),
            _ => None,
        }
    }

    /// Stray bytes on a line; on Bluetooth, a value that is no frame.
    pub(super) fn send_garbage(&mut self, i: u64, faults: FrameFaults) {
        let Some(from) = self.stream() else {
            return;
        };
        let bytes = self.plan.noise(faults.garbage);
        let entry = Entry::Garbage {
            i,
            bytes: bytes.len(),
        };
        let packet = Packet { from, bytes };
        self.send(vec![packet], Some(entry), faults.stall, i);
    }

    /// Damages a frame so that it is none any more, if it should be. The radio checks what
    /// it carries, so a value that was corrupted there never arrives.
    fn damage(
        &mut self,
        packets: &mut Vec<Packet>,
        faults: FrameFaults,
        line: Line,
    ) -> Option<LossCause> {
        if !line.right_speed || faults.wrong_speed {
            for packet in packets {
                packet.bytes = self.plan.noise(packet.bytes.len());
            }
            return Some(LossCause::WrongSpeed);
        }
        if let Some(cut) = faults.cut.filter(|cut| *cut > 0) {
            let last = packets.last_mut()?;
            let left = last.bytes.len().saturating_sub(cut);
            last.bytes.truncate(left);
            return Some(LossCause::Truncate);
        }
        if !faults.corrupt {
            return None;
        }
        if self.is_on_air() {
            packets.clear();
            return Some(LossCause::Corrupt);
        }
        let last = packets.last_mut()?.bytes.last_mut()?;
        *last = !*last;
        Some(LossCause::Corrupt)
    }

    /// Sends what belongs together; the ledger tells of it with the last part.
    pub(super) fn send(&mut self, packets: Vec<Packet>, entry: Option<Entry>, stall: bool, i: u64) {
        if packets.is_empty() {
            return;
        }
        let last = packets.len().saturating_sub(1);
        let mut entry = entry;
        let parts = packets
            .into_iter()
            .enumerate()
            .map(|(at, packet)| Outgoing {
                from: packet.from,
                bytes: packet.bytes,
                entry: if at == last { entry.take() } else { None },
                change: None,
            });
        if !stall {
            return self.out.extend(parts);
        }
        self.held.extend(parts);
        let end = i.saturating_add(self.per_frame());
        self.stalled = Some((self.stalled.map_or(i, |(from, _)| from), end));
    }
}

fn planar(rows: &[Vec<i32>], device: &Device) -> FrameRows {
    FrameRows::planar(device.samples_per_frame, &rows.concat())
}
