//! The box's side: ask for the codec, subscribe, put frames together.
//!
//! Packets are numbered, frames are what is placed in time: a frame's counter is the number
//! of its first packet over the packets of a frame, so that a loss of packets shows as a
//! loss of the frames that needed them.

use cardio_core::clock::BoxInstant;
use cardio_core::rate::SamplingRate;

use crate::decoder::{DecodeError, DecoderEvent, Frame, FrameRows, FrameSeq};
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::{AUDIO, Assembled, Assembler, AudioPacket, CODEC, Codec, FRAME_SAMPLES};

/// The box's side of a stethoscope.
#[derive(Debug)]
pub struct AudioSession {
    timing: SessionTiming,
    state: SessionState,
    since: Option<BoxInstant>,
    tries: u32,
    codec: Option<Codec>,
    assembler: Assembler,
    count: FrameCount,
}

/// From packet numbers that wrap to a counter of frames.
#[derive(Clone, Copy, Debug, Default)]
struct FrameCount {
    /// First packet of the last frame: its number, and how many packets before it.
    last: Option<(u16, u64)>,
    /// Packet and frame from which frames of `parts` packets are counted.
    base: (u64, u64),
    parts: u64,
    frame: u64,
}

impl FrameCount {
    fn of(&mut self, number: u16, parts: u8) -> FrameSeq {
        let packet = self.last.map_or(0, |(last, before)| {
            before.saturating_add(u64::from(number.wrapping_sub(last)))
        });
        self.last = Some((number, packet));
        let parts = u64::from(parts.max(1));
        if parts != self.parts {
            // The first frame, or the MTU has changed: a new count from here.
            let next = if self.parts == 0 { 0 } else { self.frame + 1 };
            self.base = (packet, next);
            self.parts = parts;
        }
        self.frame = self.base.1 + packet.saturating_sub(self.base.0) / parts;
        FrameSeq(u32::try_from(self.frame % 65_536).unwrap_or(0))
    }
}

impl AudioSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: SessionState::Idle,
            since: None,
            tries: 0,
            codec: None,
            assembler: Assembler::default(),
            count: FrameCount::default(),
        }
    }

    /// The codec, once the device has stated it; the rate of the samples follows from it.
    pub const fn codec(&self) -> Option<Codec> {
        self.codec
    }

    fn on_codec(&mut self, value: &[u8]) -> Vec<GattAction> {
        let number = value.first().copied().unwrap_or(u8::MAX);
        match Codec::from_number(number) {
            Some(codec) => {
                self.codec = Some(codec);
                vec![GattAction::Subscribe(AUDIO)]
            }
            None => {
                self.state = SessionState::Failed(SessionError::Refused {
                    command: "an audio codec that this profile reads",
                    status: u16::from(number),
                });
                Vec::new()
            }
        }
    }

    fn on_audio(&mut self, value: &[u8], out: &mut Vec<DecoderEvent>) {
        let Some(codec) = self.codec else {
            return;
        };
        let packet = match AudioPacket::decode(value) {
            Ok(packet) => packet,
            Err(why) => {
                let bytes = value.len();
                out.push(DecoderEvent::Skipped { bytes, why });
                return;
            }
        };
        let frame_bytes = codec.frame_bytes(FRAME_SAMPLES);
        let first = self.assembler.push(&packet, frame_bytes);
        let was_broken = matches!(first, Assembled::Broken { .. });
        self.on_assembled(first, codec, out);
        if was_broken {
            let second = self.assembler.complete(frame_bytes);
            self.on_assembled(second, codec, out);
        }
    }

    fn on_assembled(&mut self, assembled: Assembled, codec: Codec, out: &mut Vec<DecoderEvent>) {
        match assembled {
            Assembled::Frame {
                number,
                parts,
                bytes,
            } => {
                let seq = Some(self.count.of(number, parts));
                if let Some(samples) = codec.decode(&bytes) {
                    self.state = SessionState::Streaming;
                    out.push(DecoderEvent::Frame(Frame {
                        seq,
                        ticks: None,
                        asked: None,
                        rows: FrameRows::planar(samples.len(), &samples),
                    }));
                }
            }
            Assembled::Broken { bytes } => out.push(DecoderEvent::Skipped {
                bytes,
                why: DecodeError::Truncated {
                    field: "audio frame",
                    offset: 0,
                    need: codec.frame_bytes(FRAME_SAMPLES),
                    have: bytes,
                },
            }),
            Assembled::Part | Assembled::Repeated => {}
        }
    }
}

impl GattSession for AudioSession {
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.state = SessionState::Starting;
        self.since = Some(now);
        self.tries = 1;
        self.assembler = Assembler::default();
        self.count = FrameCount::default();
        ask_common().chain([GattAction::Read(CODEC)]).collect()
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        _now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        match from {
            CODEC => return self.on_codec(value),
            AUDIO => self.on_audio(value, out),
            _ => {
                on_common_value(from, value, out);
            }
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let waited = self
            .since
            .is_some_and(|since| has_passed(since, now, self.timing.first_frame));
        if self.state != SessionState::Starting || !waited {
            return Vec::new();
        }
        let tries = self.tries;
        if tries < self.timing.tries {
            self.tries = tries.saturating_add(1);
            self.since = Some(now);
            return vec![GattAction::Read(CODEC)];
        }
        self.state = SessionState::Failed(match self.codec {
            Some(_) => SessionError::NoStream {
                command: "the subscription to audio",
                tries,
            },
            None => SessionError::NoAnswer {
                command: "reading the codec",
                tries,
            },
        });
        Vec::new()
    }

    fn stop(&mut self) -> Vec<GattAction> {
        self.state = SessionState::Idle;
        Vec::new()
    }

    fn state(&self) -> SessionState {
        self.state
    }

    fn rate(&self) -> Option<SamplingRate> {
        SamplingRate::hz(self.codec?.rate_hz()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::AudioPeripheral;
    use super::{AudioSession, Codec};
    use crate::decoder::{DecoderEvent, Frame, FrameRows};
    use crate::gatt::{GattAction, GattPeripheral, GattSession, Notification};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn connect(session: &mut AudioSession, device: &mut AudioPeripheral) {
        let mut actions = session.start(at(0));
        let mut events = Vec::new();
        while let Some(action) = actions.pop() {
            match action {
                GattAction::Subscribe(uuid) => device.subscribe(uuid, true),
                GattAction::Read(uuid) => {
                    if let Some(value) = device.read(uuid) {
                        actions.extend(session.on_value(uuid, &value, at(1), &mut events));
                    }
                }
                GattAction::Write { .. } => panic!("nothing to write"),
            }
        }
    }

    fn sound(frame: i32) -> Vec<i32> {
        (0..160)
            .map(|n| (n * 37 + frame * 11) % 9000 - 4500)
            .collect()
    }

    fn send(device: &mut AudioPeripheral, frame: i32) -> Vec<Notification> {
        let mut sent = Vec::new();
        device.frame(&FrameRows::planar(160, &sound(frame)), &mut sent);
        sent
    }

    fn hear(session: &mut AudioSession, sent: &[Notification]) -> Vec<Frame> {
        let mut events = Vec::new();
        for value in sent {
            session.on_value(value.from, &value.value, at(2), &mut events);
        }
        events
            .into_iter()
            .filter_map(|event| match event {
                DecoderEvent::Frame(frame) => Some(frame),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn sound_is_heard_to_the_bit_in_one_part_or_in_many() {
        for mtu in [400, 100, 23] {
            let mut session = AudioSession::new(SessionTiming::default());
            let mut device = AudioPeripheral::new(Codec::Pcm16 { rate_hz: 8000 }, mtu);
            connect(&mut session, &mut device);
            for frame in 0..5 {
                let sent = send(&mut device, frame);
                let heard = hear(&mut session, &sent);
                assert_eq!(heard.len(), 1, "mtu {mtu}");
                assert_eq!(heard[0].rows.samples(), sound(frame));
                assert_eq!(heard[0].seq.unwrap().0, u32::try_from(frame).unwrap());
            }
            assert_eq!(session.state(), SessionState::Streaming);
        }
    }

    #[test]
    fn a_lost_packet_loses_its_frame_and_the_counter_says_so() {
        let mut session = AudioSession::new(SessionTiming::default());
        let mut device = AudioPeripheral::new(Codec::MuLaw { rate_hz: 8000 }, 100);
        connect(&mut session, &mut device);
        let mut heard = hear(&mut session, &send(&mut device, 0));
        let cut = send(&mut device, 1);
        assert_eq!(cut.len(), 2);
        heard.extend(hear(&mut session, &cut[1..]));
        heard.extend(hear(&mut session, &send(&mut device, 2)));
        let counters: Vec<u32> = heard.iter().map(|frame| frame.seq.unwrap().0).collect();
        assert_eq!(counters, [0, 2]);
    }

    #[test]
    fn frames_are_counted_across_the_wrap_of_packet_numbers() {
        let mut session = AudioSession::new(SessionTiming::default());
        let mut device = AudioPeripheral::new(Codec::MuLaw { rate_hz: 8000 }, 64);
        connect(&mut session, &mut device);
        let mut counters = Vec::new();
        for frame in 0..30_000 {
            let sent = send(&mut device, frame % 50);
            counters.extend(
                hear(&mut session, &sent)
                    .iter()
                    .map(|frame| frame.seq.unwrap().0),
            );
        }
        assert_eq!(counters, (0..30_000).collect::<Vec<u32>>());
    }

    #[test]
    fn the_rate_follows_from_the_codec() {
        let mut session = AudioSession::new(SessionTiming::default());
        let mut device = AudioPeripheral::new(Codec::MuLaw { rate_hz: 16_000 }, 400);
        assert_eq!(session.rate(), None);
        connect(&mut session, &mut device);
        assert_eq!(session.rate().unwrap().as_hz(), 16_000.0);
    }

    #[test]
    fn a_codec_that_nobody_reads_is_refused_by_its_number() {
        let mut session = AudioSession::new(SessionTiming::default());
        session.start(at(0));
        session.on_value(super::CODEC, &[20], at(1), &mut Vec::new());
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert!(why.to_string().ends_with("status 20"));
    }
}
