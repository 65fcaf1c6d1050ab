//! Every message: there and back, and never one for another.

use cardio_core::clock::{BoxInstant, ClockQuality};
use cardio_core::ids::BootId;
use proptest::prelude::*;
use proptest::sample::select;
use ring::rand::SystemRandom;

use super::*;

fn key() -> SigningKey {
    SigningKey::generate(&SystemRandom::new()).unwrap().0
}

fn reading(micros: u64, utc: i64, error: Option<u64>) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([8; 16]),
            micros,
        },
        utc: UtcMicros(utc),
        quality: error.map_or(ClockQuality::Unsynchronised, |error_us| {
            ClockQuality::Synchronised { error_us }
        }),
    }
}

fn lane() -> impl Strategy<Value = Lane> {
    select(&Lane::ALL[..])
}

prop_compose! {
    fn lane_states()(
        lane in lane(), chain: [u8; 8], oldest: u64, next: u64, head: [u8; 32], acked: u64,
    ) -> LaneState {
        LaneState { lane, chain: ChainId(chain), oldest, next, head, acked }
    }
}

prop_compose! {
    fn keys()(recipient: [u8; 32], control: [u8; 32], control_next: [u8; 32]) -> TrustedKeys {
        TrustedKeys {
            recipient: RecipientPublicKey(recipient),
            control: VerifyingKey(control),
            control_next: VerifyingKey(control_next),
        }
    }
}

prop_compose! {
    fn hello()(
        device: [u8; 16], lanes in prop::collection::vec(lane_states(), 0..5),
        agent_version: String, at: (u64, i64, Option<u64>), free_bytes: u64, keys in keys(),
        until: i64, heard: Option<(i64, u64)>, visits_key: Option<[u8; 32]>,
    ) -> Hello {
        let at = reading(at.0, at.1, at.2);
        let (keys, certificate_until) = (keys.ids(), UtcMicros(until));
        let heard = heard.map(|(utc, micros)| HeardClock { gateway_utc: UtcMicros(utc), micros });
        Hello {
            device: BoxId(device), lanes, agent_version, at, free_bytes, keys, certificate_until,
            heard, visits_key: visits_key.map(RecipientPublicKey),
        }
    }
}

prop_compose! {
    fn ack()(
        device: [u8; 16], lane in lane(), chain: [u8; 8], head: [u8; 32],
        numbers: (u64, i64, Option<u64>, u64), other: Option<Option<(u64, [u8; 32])>>,
    ) -> Ack {
        let (upto, utc, echo_us, counter) = numbers;
        let (device, chain, gateway_utc) = (BoxId(device), ChainId(chain), UtcMicros(utc));
        let other = other.map(|frame| frame.map_or(OtherHistory::Ended, |(seq, fingerprint)| {
            OtherHistory::Frame { seq, fingerprint }
        }));
        Ack { device, lane, chain, upto, head, gateway_utc, echo_us, counter, other }
    }
}

fn command() -> impl Strategy<Value = Command> {
    let resend = (lane(), any::<([u8; 8], u64)>()).prop_map(|(lane, (chain, from_seq))| {
        let chain = ChainId(chain);
        CommandAction::Resend {
            lane,
            chain,
            from_seq,
        }
    });
    let action = prop_oneof![
        resend,
        keys().prop_map(CommandAction::Rotate),
        Just(CommandAction::Pause),
        Just(CommandAction::Revoke),
        any::<([u8; 8], [u8; 32], Vec<u8>)>().prop_map(|(recipient, enc, ct)| {
            let recipient = KeyId(recipient);
            CommandAction::Visits(SealedVisits { recipient, enc, ct })
        }),
    ];
    (any::<([u8; 16], u64, i64)>(), action).prop_map(|((device, number, expires), action)| {
        Command {
            device: BoxId(device),
            number,
            expires: UtcMicros(expires),
            action,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_verifies_to_the_same_message(
        hello in hello(), ack in ack(), command in command(), online: bool,
    ) {
        let key = key();
        let public = key.verifying_key();
        let state = State { device: hello.device, online, at: hello.at };
        prop_assert_eq!(Hello::verify(&hello.sign(&key), &public).unwrap(), hello);
        prop_assert_eq!(Ack::verify(&ack.sign(&key), &public).unwrap(), ack);
        prop_assert_eq!(Command::verify(&command.sign(&key), &public).unwrap(), command);
        prop_assert_eq!(State::verify(&state.sign(&key), &public).unwrap(), state);
    }

    #[test]
    fn any_signed_payload_is_a_message_or_an_error(payload: Vec<u8>) {
        let key = key();
        let public = key.verifying_key();
        let signed = |purpose| cose::sign(payload.clone(), purpose, &key);
        prop_assert!(Hello::verify(&signed(Hello::PURPOSE), &public).is_err());
        prop_assert!(Ack::verify(&signed(Ack::PURPOSE), &public).is_err());
        prop_assert!(Command::verify(&signed(Command::PURPOSE), &public).is_err());
        prop_assert!(State::verify(&signed(State::PURPOSE), &public).is_err());
    }

    #[test]
    fn any_change_of_any_byte_of_an_ack_is_refused(
        ack in ack(), at: prop::sample::Index, flip in 1_u8..,
    ) {
        let key = key();
        let mut bytes = ack.sign(&key);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Ack::verify(&bytes, &key.verifying_key()).is_err());
    }
}

fn revoke() -> Command {
    Command {
        device: BoxId([1; 16]),
        number: 1,
        expires: UtcMicros(2),
        action: CommandAction::Revoke,
    }
}

#[test]
fn a_message_never_passes_for_another() {
    let key = key();
    let bytes = revoke().sign(&key);
    let err = Ack::verify(&bytes, &key.verifying_key()).unwrap_err();
    assert_eq!(err.code(), "signed.signature");
    assert_eq!(err.to_string(), "cannot accept the ack");
}

#[test]
fn a_message_of_another_signer_is_refused() {
    let bytes = revoke().sign(&key());
    let err = Command::verify(&bytes, &key().verifying_key()).unwrap_err();
    assert_eq!(err.code(), "signed.signer");
}

#[test]
fn either_pinned_key_may_have_signed_and_no_third() {
    let (now, next, other) = (key(), key(), key());
    let pinned = [now.verifying_key(), next.verifying_key()];
    for signer in [&now, &next] {
        let bytes = revoke().sign(signer);
        assert_eq!(Command::verify_by_any(&bytes, &pinned).unwrap(), revoke());
    }
    let err = Command::verify_by_any(&revoke().sign(&other), &pinned).unwrap_err();
    assert_eq!(err.code(), "signed.signer");
    assert!(Command::verify_by_any(&revoke().sign(&now), &[]).is_err());
}

#[test]
fn a_later_version_is_told_apart_from_damage() {
    let key = key();
    let payload = cbor::encode(&cbor::map([(0, Some(Value::from(2_u8)))]));
    let bytes = cose::sign(payload, Command::PURPOSE, &key);
    let err = Command::verify(&bytes, &key.verifying_key()).unwrap_err();
    assert_eq!(err.code(), "message.version");
}
