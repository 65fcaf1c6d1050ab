//! A device that speaks only when it is asked: what it measured waits for the next question.
//!
//! Faults of frames meet the answer that carries them. A device that is stalled hears no question:
//! what it measures waits, as long as there is room for it.

use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::Notification;

use super::{Line, Player};
use crate::device::Packet;
use crate::faults::FrameFaults;
use crate::ledger::{Entry, LossCause};

/// Samples that follow each other and were not asked for yet, and what their answer will meet.
#[derive(Debug)]
pub(super) struct Waiting {
    from: u64,
    rows: Vec<Vec<i32>>,
    drop: bool,
    corrupt: bool,
    cut: Option<usize>,
}

impl Waiting {
    fn len(&self) -> u64 {
        let held = self.rows.first().map_or(0, Vec::len);
        u64::try_from(held).unwrap_or(u64::MAX)
    }
}

impl Player {
    /// Takes a frame of samples that nobody has asked for yet.
    pub(super) fn wait_for_question(
        &mut self,
        i: u64,
        rows: &[Vec<i32>],
        faults: FrameFaults,
        line: Line,
    ) {
        let silence = self.silence(faults, line);
        if self.firmware.waiting() == Some(0) {
            // The link that they were to be asked for over is gone.
            self.forget_waiting(silence.unwrap_or(LossCause::NotConnected));
        }
        if let Some(cause) = silence {
            if self.waiting.is_some() {
                // Nobody can ask for them any more, even where the link does not know yet.
                self.firmware.disconnect();
                self.forget_waiting(cause);
            }
            return self.lose(cause, i);
        }
        if faults.garbage > 0 {
            self.send_garbage(i, faults);
        }
        let before = self.firmware.waiting().unwrap_or(0);
        let per_frame = self.device.samples_per_frame;
        let sent = FrameRows::planar(per_frame, &rows.concat());
        self.firmware.frame(&sent);
        let after = self.firmware.waiting().unwrap_or(0);
        let taken = after.saturating_sub(before).min(per_frame);
        self.gather(i, rows, taken, faults);
        let taken = u64::try_from(taken).unwrap_or(0);
        let left = self.per_frame().saturating_sub(taken);
        if left > 0 {
            self.lose_span(LossCause::Overrun, i.saturating_add(taken), left);
        }
        if faults.stall {
            let end = i.saturating_add(self.per_frame());
            self.stalled = Some((self.stalled.map_or(i, |(from, _)| from), end));
        }
    }

    fn gather(&mut self, i: u64, rows: &[Vec<i32>], taken: usize, faults: FrameFaults) {
        if taken == 0 {
            return;
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            from: i,
            rows: vec![Vec::new(); rows.len()],
            drop: false,
            corrupt: false,
            cut: None,
        });
        for (held, row) in waiting.rows.iter_mut().zip(rows) {
            held.extend(row.iter().take(taken));
        }
        waiting.drop |= faults.drop;
        waiting.corrupt |= faults.corrupt;
        waiting.cut = waiting.cut.or(faults.cut.filter(|cut| *cut > 0));
    }

    /// What was measured will not be asked for any more.
    pub(super) fn forget_waiting(&mut self, cause: LossCause) {
        if let Some(waiting) = self.waiting.take() {
            self.lose_span(cause, waiting.from, waiting.len());
        }
    }

    /// The device gave an answer that carries what waited: it meets its faults and goes out.
    pub(super) fn answer(&mut self, answer: Vec<Notification>, now_us: u64) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let (from, len) = (waiting.from, waiting.len());
        let mut packets: Vec<Packet> = answer
            .into_iter()
            .map(|part| Packet {
                from: Some(part.from),
                bytes: part.value,
            })
            .collect();
        let lost = if waiting.drop || waiting.corrupt {
            packets.clear();
            Some(match waiting.drop {
                true => LossCause::Drop,
                false => LossCause::Corrupt,
            })
        } else if packets.is_empty() {
            Some(LossCause::NotConnected)
        } else {
            waiting.cut.map(|cut| {
                if let Some(last) = packets.last_mut() {
                    last.bytes.truncate(last.bytes.len().saturating_sub(cut));
                }
                LossCause::Truncate
            })
        };
        let entry = match lost {
            Some(cause) => {
                self.lose_span(cause, from, len);
                None
            }
            None => {
                if self.losing.is_some_and(|(_, earlier, _)| earlier < from) {
                    self.tell_loss();
                }
                Some(Entry::Frame {
                    i: from,
                    seq: None,
                    t_us: now_us,
                    rows: waiting.rows,
                })
            }
        };
        self.send(packets, entry, false, from);
    }
}
