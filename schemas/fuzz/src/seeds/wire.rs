//! What box and gateway say to each other: records, frames, messages, topics, packets, enrolment.

use std::path::Path;

use cardio_core::ids::BoxId;
use cardio_fuzz::{SECRET, SIGNER, signed};
use cardio_wire::enrol::{Answer, Ask, ClaimCode, EnrolRequest, Grant, Scan, Session};
use cardio_wire::envelope::{self, FrameHeader, NO_PREVIOUS, SUITE_X25519_CHACHA};
use cardio_wire::keys::TrustedKeys;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::topic::Topic;
use ring::rand::SystemRandom;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PubAck, Publish};

use crate::{Seed, seed};

const DEVICE: BoxId = BoxId([0xDE; 16]);

/// Examples of messages begin with these, in the order of the target's first byte.
const MESSAGES: [&str; 5] = ["hello", "ack", "command", "state", "visits"];

/// Seeds of all targets that take what travels between box and gateway.
pub(crate) fn seeds(examples: &Path) -> std::io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (name, bytes) in self::examples(examples)? {
        for target in ["cbor", "record"] {
            seeds.push(seed(target, &name, bytes.clone()));
        }
        if let Some(which) = MESSAGES.iter().position(|kind| name.starts_with(kind)) {
            let which = u8::try_from(which).unwrap_or_default();
            seeds.push(seed(
                "message",
                &name,
                [&[which], bytes.as_slice()].concat(),
            ));
        }
        seeds.push(seed("envelope", &name, inside(&sealed(&bytes))));
        seeds.push(seed("envelope", &format!("{name}-whole"), sealed(&bytes)));
    }
    let whole = [&[1], signed(b"\xA0", b"ecg/1 ack").as_slice()].concat();
    seeds.push(seed("message", "signed", whole));
    for topic in topics() {
        let text = topic.to_string();
        seeds.push(seed("topic", &text.replace('/', "-"), text));
    }
    for (name, packet) in packets() {
        for piece in [3, 255] {
            let bytes = [&[piece], packet.as_slice()].concat();
            seeds.push(seed("mqtt", &format!("{name}-{piece}"), bytes));
        }
    }
    seeds.extend(enrolment());
    Ok(seeds)
}

/// The contract's examples, as bytes.
fn examples(folder: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let digits = std::fs::read_to_string(&path)?;
        let pairs = digits.trim().as_bytes().chunks(2);
        let bytes =
            pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        found.push((name.into_owned(), bytes.collect()));
    }
    Ok(found)
}

fn sealed(record: &[u8]) -> Vec<u8> {
    let to = SECRET.public();
    let header = FrameHeader {
        suite: SUITE_X25519_CHACHA,
        recipient: to.key_id(),
        device: DEVICE,
        lane: Lane::Routine,
        chain: ChainId([0xC4; 8]),
        seq: 1,
        prev: NO_PREVIOUS,
    };
    envelope::seal(record, &header, &to, &SIGNER).expect("an example is small enough to seal")
}

/// What is signed in a frame: the target signs it again.
fn inside(frame: &[u8]) -> Vec<u8> {
    use coset::TaggedCborSerializable as _;
    let sign1 = coset::CoseSign1::from_tagged_slice(frame).expect("a frame is COSE_Sign1");
    sign1.payload.expect("a frame carries its payload")
}

fn topics() -> Vec<Topic> {
    let mut topics = vec![
        Topic::UpHello(DEVICE),
        Topic::State(DEVICE),
        Topic::DownAck(DEVICE),
        Topic::DownCommand(DEVICE),
    ];
    topics.extend(Lane::ALL.map(|lane| Topic::UpLane(DEVICE, lane)));
    topics
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let topic = Topic::UpLane(DEVICE, Lane::Bulk).to_string();
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, vec![0x5A; 64], None);
    publish.pkid = 7;
    let written = |packets: Vec<Packet>| {
        let mut buffer = bytes::BytesMut::new();
        for packet in packets {
            packet
                .write(&mut buffer, None)
                .expect("a whole packet can be written");
        }
        buffer.to_vec()
    };
    let puback = || Packet::PubAck(PubAck::new(7, None));
    let all = vec![Packet::Publish(publish.clone()), puback(), Packet::PingReq];
    vec![
        ("publish", written(vec![Packet::Publish(publish)])),
        ("puback", written(vec![puback()])),
        ("several", written(all)),
        // With a will and properties, written by hand (MQTT 5.0, section 3.1).
        (
            "connect",
            b"\x10\x2B\0\x04MQTT\x05\x2E\0\x1E\x05\x11\0\0\0\x3C\0\x03box\0\0\x0Becg/1/state\0\x01\xA0\0\0\0\0"
                .to_vec(),
        ),
        ("subscribe", b"\x82\x0B\0\x01\0\0\x05a/b/c\x01".to_vec()),
        ("unsubscribe", b"\xA2\x0A\0\x01\0\0\x05a/b/c".to_vec()),
        ("disconnect", b"\xE0\x02\x8E\0".to_vec()),
    ]
}

fn enrolment() -> Vec<Seed> {
    let session = Session {
        authority: [3; 32],
        binding: [4; 32],
    };
    let code = ClaimCode::generate(&SystemRandom::new()).expect("the system gives random bytes");
    let key = rcgen::KeyPair::generate().expect("the system gives random bytes");
    let names = vec!["gateway.example".to_owned()];
    let csr = rcgen::CertificateParams::new(names)
        .and_then(|params| params.serialize_request(&key))
        .map(|request| request.der().to_vec())
        .expect("a plain request can be made");
    let request = EnrolRequest {
        invitation: code.number(),
        csr: csr.clone(),
        frame_key: SIGNER.verifying_key(),
        agent_version: "0.1.0".to_owned(),
        nonce: [7; 16],
    };
    let sign = |_: &[u8]| Some(vec![0x30; 70]);
    let posted = request.prove(&session, &code.key(), &SIGNER, sign);
    let grant = Grant {
        device: DEVICE,
        name: "box".to_owned(),
        certificate: "certificate".to_owned(),
        endpoint: "gateway.example:8883".to_owned(),
        server_name: "gateway.example".to_owned(),
        authority: "authority".to_owned(),
        renewal: "gateway.example:8444".to_owned(),
        trusted: TrustedKeys {
            recipient: SECRET.public(),
            control: SIGNER.verifying_key(),
            control_next: SIGNER.verifying_key(),
        },
    };
    let scan = Scan {
        address: "gateway.example:8444".to_owned(),
        authority: "00".repeat(32),
        code: code.clone(),
    };
    let pending = Answer::Pending { ticket: [9; 16] };
    let granted = Answer::Granted(Box::new(grant));
    let posted = posted.expect("the request is complete").0;
    vec![
        seed("enrol", "csr", csr),
        seed("enrol", "posted", posted),
        seed("enrol", "ask", Ask::sign([9; 16], &session, &SIGNER)),
        seed("enrol", "pending", pending.encode()),
        seed("enrol", "granted", granted.encode()),
        seed("enrol", "code", code.to_text().as_bytes()),
        seed("enrol", "scan", scan.to_text().as_bytes()),
    ]
}
