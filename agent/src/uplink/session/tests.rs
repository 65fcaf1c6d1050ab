use cardio_core::clock::{Clock as _, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys};
use cardio_wire::lane::Lane;
use cardio_wire::message::{Ack, Command, CommandAction};
use cardio_wire::topic::Topic;
use cardio_wire::visits::VisitList;

use super::testing::{CHAIN, DEVICE, Frames, Rig, keys_of, soon};
use crate::uplink::{LinkEvent, UplinkError};

#[tokio::test]
async fn after_hello_and_an_acknowledgement_the_box_goes_on_behind_it() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 4);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    assert_eq!(gateway.hello(&rig).await.lanes[0].next, 5);
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 2))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 3));
    assert_eq!(gateway.frame().await, (Lane::Routine, 4));
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 4))
        .await;
    soon(rig.facts.wait_for(|facts| facts.drained))
        .await
        .unwrap();
    assert_eq!(rig.frames.acked_upto(Lane::Routine), 4);
}

#[tokio::test]
async fn a_gateway_that_says_nothing_after_hello_is_sent_to_after_a_while() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    rig.clock.advance_micros(5_000_000);
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
}

#[tokio::test]
async fn a_forged_acknowledgement_moves_nothing() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 2);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    let (forger, _) = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let forged = rig.ack_of(Lane::Routine, 2).sign(&forger);
    gateway.say(Topic::DownAck(DEVICE), forged).await;
    let foreign = Ack {
        device: BoxId([4; 16]),
        ..rig.ack_of(Lane::Routine, 2)
    };
    gateway
        .say(Topic::DownAck(DEVICE), foreign.sign(&rig.control))
        .await;
    let ahead = rig.ack(Lane::Routine, 9);
    gateway.say(Topic::DownAck(DEVICE), ahead).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    assert_eq!(rig.frames.acked_upto(Lane::Routine), 1);
    assert_eq!(rig.board.lines().uplink.refused_acks, 3);
}

#[tokio::test]
async fn after_a_lost_connection_what_was_not_acknowledged_is_sent_again() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 3);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    gateway
        .say
        .send(LinkEvent::Lost(UplinkError::Closed))
        .await
        .unwrap();
    let mut again = rig.gateway().await;
    assert_eq!(again.hello(&rig).await.lanes[0].acked, 1);
    again
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(again.frame().await, (Lane::Routine, 2));
    assert!(rig.board.lines().uplink.connections >= 2);
}

#[tokio::test]
async fn without_progress_for_the_limit_everything_goes_again_after_a_new_hello() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 2);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 0))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    rig.clock.advance_micros(30_000_000);
    gateway.hello(&rig).await;
    rig.clock.advance_micros(5_000_000);
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
}

#[tokio::test]
async fn an_alert_that_is_stored_while_bulk_is_sent_goes_next() {
    let frames = Frames::default();
    frames.hold(Lane::Bulk, 20);
    frames.hold(Lane::Alert, 0);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    for lane in [Lane::Alert, Lane::Bulk] {
        gateway.say(Topic::DownAck(DEVICE), rig.ack(lane, 0)).await;
    }
    let first = soon(gateway.published.recv()).await.unwrap();
    assert_eq!(first.frame, Some((Lane::Bulk, 1)));
    rig.frames.hold(Lane::Alert, 1);
    rig.stored.notify_one();
    // the frame before it is not taken over yet, and nothing else comes between
    assert_eq!(gateway.frame().await, (Lane::Alert, 1));
}

#[tokio::test]
async fn a_command_to_send_again_goes_back_and_a_revocation_ends_everything() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 3);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 3))
        .await;
    soon(rig.facts.wait_for(|facts| facts.drained))
        .await
        .unwrap();
    let command = |number, action| Command {
        device: DEVICE,
        number,
        expires: UtcMicros(i64::MAX),
        action,
    };
    let resend = CommandAction::Resend {
        lane: Lane::Routine,
        chain: CHAIN,
        from_seq: 2,
    };
    gateway
        .say(
            Topic::DownCommand(DEVICE),
            command(1, resend).sign(&rig.control),
        )
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    let revoke = command(2, CommandAction::Revoke).sign(&rig.control);
    gateway.say(Topic::DownCommand(DEVICE), revoke).await;
    soon(rig.facts.wait_for(|facts| facts.revoked))
        .await
        .unwrap();
    assert!(soon(rig.gateways.recv()).await.is_none());
}

#[tokio::test]
async fn a_command_ends_by_the_gateways_clock_and_not_by_a_wall_clock_that_runs_ahead() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    let hour_us = 3_600_000_000;
    let gateway_utc = UtcMicros(rig.clock.read().utc.0 - 2 * hour_us);
    let ack = Ack {
        gateway_utc,
        ..rig.ack_of(Lane::Routine, 0)
    };
    let command = Command {
        device: DEVICE,
        number: 8,
        expires: UtcMicros(gateway_utc.0 + hour_us),
        action: CommandAction::Pause,
    };
    gateway
        .say(Topic::DownAck(DEVICE), ack.sign(&rig.control))
        .await;
    gateway
        .say(Topic::DownCommand(DEVICE), command.sign(&rig.control))
        .await;
    soon(async {
        while !rig.board.lines().uplink.paused {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn rotated_keys_hold_at_once_and_the_next_hello_says_so() {
    let frames = Frames::default();
    let mut rig = Rig::start(frames.clone());
    let mut gateway = rig.gateway().await;
    let first = gateway.hello(&rig).await;
    assert_eq!(first.keys, keys_of(&rig.control, &rig.control).ids());
    assert_eq!(first.certificate_until, UtcMicros(5));
    let rng = ring::rand::SystemRandom::new();
    let (next, _) = SigningKey::generate(&rng).unwrap();
    let keys = TrustedKeys {
        recipient: RecipientPublicKey([5; 32]),
        ..keys_of(&next, &next)
    };
    let rotate = Command {
        device: DEVICE,
        number: 1,
        expires: UtcMicros(i64::MAX),
        action: CommandAction::Rotate(keys),
    };
    let rotate = rotate.sign(&rig.control);
    gateway.say(Topic::DownCommand(DEVICE), rotate).await;
    assert_eq!(gateway.hello(&rig).await.keys, keys.ids());
    assert_eq!(*frames.1.lock().unwrap(), Some(keys.recipient));
}

#[tokio::test]
async fn the_box_says_what_it_heard_of_the_gateways_clock_and_when() {
    let mut rig = Rig::start(Frames::default());
    rig.frames.hold(Lane::Routine, 1);
    let mut gateway = rig.gateway().await;
    assert_eq!(gateway.hello(&rig).await.heard, None);
    let ack = rig.ack_of(Lane::Routine, 0);
    let heard_at = rig.clock.read().box_instant;
    gateway
        .say(Topic::DownAck(DEVICE), ack.sign(&rig.control))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
    rig.clock.advance_micros(10_000_000);
    rig.stored.notify_one();
    let hello = gateway.hello(&rig).await;
    let heard = hello.heard.unwrap();
    assert_eq!(heard.gateway_utc, ack.gateway_utc);
    assert_eq!(heard.micros, heard_at.micros);
    assert!(hello.at.box_instant.micros >= heard.micros + 10_000_000);
}

#[tokio::test]
async fn connections_of_a_moment_tell_the_gateway_the_boxs_clock_as_well() {
    let mut rig = Rig::start(Frames::default());
    rig.frames.hold(Lane::Routine, 1);
    let mut gateway = rig.gateway().await;
    assert_eq!(gateway.hello(&rig).await.heard, None);
    let (ack, heard_at) = (rig.ack_of(Lane::Routine, 0), rig.clock.read().box_instant);
    gateway
        .say(Topic::DownAck(DEVICE), ack.sign(&rig.control))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
    rig.clock.advance_micros(1_000_000);
    drop(gateway);
    let heard = rig.gateway().await.hello(&rig).await.heard.unwrap();
    assert_eq!(
        (heard.gateway_utc, heard.micros),
        (ack.gateway_utc, heard_at.micros)
    );
}

#[tokio::test]
async fn visits_are_taken_from_whom_the_box_believes_once_and_in_order() {
    let mut rig = Rig::start(Frames::default());
    let mut gateway = rig.gateway().await;
    let key = gateway.hello(&rig).await.visits_key.unwrap();
    assert_eq!(key, rig.worklist.key());
    let list = |left_out| VisitList {
        day: "2026-01-31".to_owned(),
        issued: UtcMicros(0),
        until: UtcMicros(i64::MAX),
        visits: Vec::new(),
        left_out,
    };
    let signed = |number, left_out, by: &SigningKey| {
        let sealed = list(left_out).seal(DEVICE, &key).unwrap();
        let command = Command {
            device: DEVICE,
            number,
            expires: UtcMicros(i64::MAX),
            action: CommandAction::Visits(sealed),
        };
        command.sign(by)
    };
    let (forger, _) = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let told = [
        signed(9, 7, &forger),
        signed(2, 1, &rig.control),
        // what is older than the last one, or the last one again
        signed(1, 2, &rig.control),
        signed(2, 3, &rig.control),
        signed(3, 4, &rig.control),
    ];
    for command in told {
        gateway.say(Topic::DownCommand(DEVICE), command).await;
    }
    let mut seen = vec![0];
    soon(async {
        while seen.last() != Some(&4) {
            let left_out = rig.worklist.document(true, true).left_out;
            if seen.last() != Some(&left_out) {
                seen.push(left_out);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        seen.iter().all(|left_out| [0, 1, 4].contains(left_out)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn told_to_stop_it_stops() {
    let mut rig = Rig::start(Frames::default());
    rig.gateway().await;
    rig.stop.send_replace(true);
    assert!(soon(rig.gateways.recv()).await.is_none());
}

#[tokio::test]
async fn a_connection_on_which_nothing_more_is_heard_is_given_up_for_another() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut dead = rig.gateway().await;
    dead.hello(&rig).await;
    // The room for what is published may be full as well: nothing is taken from here on.
    rig.clock.advance_micros(76_000_000);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    drop(dead);
}
