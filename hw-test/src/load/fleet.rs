//! The boxes: enrolled at a real gateway, their frames sealed and signed beforehand.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::{BootId, BoxId};
use cardio_wire::envelope::{FrameHeader, NO_PREVIOUS, SUITE_X25519_CHACHA, fingerprint, seal};
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeyIds, VerifyingKey};
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::{Hello, LaneState};
use cardio_wire::record::Record;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, Publish};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::receiver::Gateway;
use super::recording::Recording;

/// The lane of recordings, and that of what a person must see at once.
const LANES: [Lane; 2] = [Lane::Routine, Lane::Alert];
const CHAIN: ChainId = ChainId([1; 8]);

/// All boxes.
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
}

/// One box.
pub(crate) struct Member {
    pub(crate) id: BoxId,
    signer: SigningKey,
    recipient: RecipientPublicKey,
    /// Checks acknowledgements.
    pub(crate) control: VerifyingKey,
    control_next: VerifyingKey,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
    /// Its frames as packets, numbered from 2 on; 1 is the hello.
    pub(crate) packets: Vec<Bytes>,
    frame_bytes: usize,
}

impl Fleet {
    /// Enrols `count` boxes over the gateway's own socket, as its command line does.
    pub(crate) fn enrol(gateway: &Gateway, count: usize) -> anyhow::Result<Self> {
        let members = (0..count)
            .map(|number| Member::from_file(&gateway.enrol(&format!("load-{number}"))?))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { members })
    }

    /// Enrols a box that only listens.
    pub(crate) fn listener(gateway: &Gateway) -> anyhow::Result<Member> {
        Member::from_file(&gateway.enrol("load-listener")?)
    }

    /// Seals `count` frames for each box, on two threads.
    pub(crate) fn seal(&mut self, count: usize) -> anyhow::Result<()> {
        let half = self.members.len().div_ceil(2);
        std::thread::scope(|scope| {
            let halves: Vec<_> = self
                .members
                .chunks_mut(half.max(1))
                .map(|members| {
                    scope.spawn(move || members.iter_mut().try_for_each(|one| one.seal(count)))
                })
                .collect();
            for half in halves {
                match half.join() {
                    Ok(sealed) => sealed?,
                    Err(_) => bail!("a thread that seals has ended early"),
                }
            }
            Ok(())
        })
    }

    /// Mean size of a frame, in kB.
    pub(crate) fn frame_kb(&self) -> f64 {
        let bytes: usize = self.members.iter().map(|one| one.frame_bytes).sum();
        let frames: usize = self.members.iter().map(|one| one.packets.len()).sum();
        let small = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        small(bytes / frames.max(1)) / 1000.0
    }
}

impl Member {
    fn from_file(text: &str) -> anyhow::Result<Self> {
        let file: toml::Value = toml::from_str(text).context("the enrolment is no TOML")?;
        let of = |part: &str, key: &str| {
            let found = file.get(part).and_then(|part| part.get(key));
            let found = found.and_then(toml::Value::as_str);
            found.with_context(|| format!("the enrolment has no {part}.{key}"))
        };
        let raw = |part, key| anyhow::Ok(STANDARD.decode(of(part, key)?)?);
        let certificate = of("keys", "tls_certificate")?.as_bytes();
        let key = of("keys", "tls_key")?.as_bytes();
        Ok(Self {
            id: of("box", "id")?.parse().context("no box id")?,
            signer: SigningKey::from_pkcs8(&raw("keys", "frame_key")?)?,
            recipient: RecipientPublicKey::from_bytes(&raw("gateway", "recipient_key")?)?,
            control: VerifyingKey::from_bytes(&raw("gateway", "control_key")?)?,
            control_next: VerifyingKey::from_bytes(&raw("gateway", "next_control_key")?)?,
            certificate: CertificateDer::from_pem_slice(certificate).context("no certificate")?,
            key: Arc::new(PrivateKeyDer::from_pem_slice(key).context("no key")?),
            packets: Vec::new(),
            frame_bytes: 0,
        })
    }

    fn seal(&mut self, count: usize) -> anyhow::Result<()> {
        let recording = Recording::new(self.id, 0);
        let started = std::iter::once_with(|| recording.started(1));
        let segments = (0_u64..).map(|ordinal| recording.segment(ordinal + 2, ordinal));
        self.seal_all(started.chain(segments).take(count))
    }

    /// Seals records as the box's frames, in their order.
    pub(crate) fn seal_all(
        &mut self,
        records: impl IntoIterator<Item = anyhow::Result<Record>>,
    ) -> anyhow::Result<()> {
        let mut ends = LANES.map(|lane| (lane, 0_u64, NO_PREVIOUS));
        let mut packet_id = 1_u16;
        for record in records {
            packet_id = packet_id
                .checked_add(1)
                .context("too many frames per box")?;
            let record = record?;
            let at_once = matches!(record, Record::Assessment(_));
            let [routine, alert] = &mut ends;
            let (lane, seq, prev) = if at_once { alert } else { routine };
            *seq += 1;
            let header = FrameHeader {
                suite: SUITE_X25519_CHACHA,
                recipient: self.recipient.key_id(),
                device: self.id,
                lane: *lane,
                chain: CHAIN,
                seq: *seq,
                prev: *prev,
            };
            let frame = seal(&record.encode(), &header, &self.recipient, &self.signer)?;
            *prev = fingerprint(&frame);
            let topic = Topic::UpLane(self.id, *lane).to_string();
            self.frame_bytes += frame.len();
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, frame, None);
            publish.pkid = packet_id;
            let mut bytes = BytesMut::new();
            publish
                .write(&mut bytes)
                .context("a frame that fits no packet")?;
            self.packets.push(bytes.freeze());
        }
        Ok(())
    }

    /// Its frames as packets on the topic of `other`.
    pub(crate) fn on_topic_of(&self, other: &Self) -> anyhow::Result<Vec<Publish>> {
        self.packets
            .iter()
            .map(|packet| {
                let mut bytes = BytesMut::from(packet.as_ref());
                match Packet::read(&mut bytes, None) {
                    Ok(Packet::Publish(mut publish)) => {
                        publish.topic = Topic::UpLane(other.id, Lane::Routine).to_string().into();
                        Ok(publish)
                    }
                    other => bail!("a frame became {other:?}"),
                }
            })
            .collect()
    }

    /// What the box says first.
    pub(crate) fn hello(&self) -> Vec<u8> {
        Hello {
            device: self.id,
            lanes: LANES.map(unsent).to_vec(),
            agent_version: "load".to_owned(),
            at: reading(0),
            free_bytes: 1 << 30,
            keys: TrustedKeyIds {
                recipient: self.recipient.key_id(),
                control: self.control.key_id(),
                control_next: self.control_next.key_id(),
            },
            certificate_until: UtcMicros(i64::MAX),
            heard: None,
            visits_key: None,
        }
        .sign(&self.signer)
    }
}

/// A lane that nothing was sent on.
const fn unsent(lane: Lane) -> LaneState {
    LaneState {
        lane,
        chain: CHAIN,
        oldest: 1,
        next: 1,
        head: NO_PREVIOUS,
        acked: 0,
    }
}

/// A moment of the box, so many microseconds after its start.
pub(super) fn reading(micros: u64) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([3; 16]),
            micros,
        },
        utc: UtcMicros(1_790_000_000_000_000_i64.saturating_add_unsigned(micros)),
        quality: ClockQuality::Synchronised { error_us: 1_000 },
    }
}
