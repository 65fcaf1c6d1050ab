//! One frame of 4 KiB of plaintext: sealed, looked at, verified, opened.
//!
//! Budget on one quiet core: seal 150 µs, verify 80 µs, open 120 µs.

#![allow(clippy::unwrap_used, reason = "a bench stops at what is unexpected")]

use cardio_core::ids::BoxId;
use cardio_wire::envelope::{FrameHeader, SUITE_X25519_CHACHA, open, peek, seal, verify};
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use cardio_wire::lane::{ChainId, Lane};
use divan::Bencher;
use ring::rand::SystemRandom;

struct Ends {
    signer: SigningKey,
    secret: RecipientSecretKey,
    header: FrameHeader,
}

fn ends() -> Ends {
    let rng = SystemRandom::new();
    let secret = RecipientSecretKey::generate(&rng).unwrap();
    Ends {
        signer: SigningKey::generate(&rng).unwrap().0,
        header: FrameHeader {
            suite: SUITE_X25519_CHACHA,
            recipient: secret.key_id(),
            device: BoxId([1; 16]),
            lane: Lane::Bulk,
            chain: ChainId([2; 8]),
            seq: 2,
            prev: [3; 32],
        },
        secret,
    }
}

const PLAINTEXT: [u8; 4096] = [0x5A; 4096];

fn frame(ends: &Ends) -> Vec<u8> {
    seal(
        &PLAINTEXT,
        &ends.header,
        &ends.secret.public(),
        &ends.signer,
    )
    .unwrap()
}

#[divan::bench]
fn seal_4_kib(bencher: Bencher<'_, '_>) {
    let ends = ends();
    let to = ends.secret.public();
    bencher.bench(|| seal(&PLAINTEXT, &ends.header, &to, &ends.signer).unwrap());
}

#[divan::bench]
fn peek_4_kib(bencher: Bencher<'_, '_>) {
    let frame = frame(&ends());
    bencher.bench(|| peek(&frame).unwrap());
}

#[divan::bench]
fn verify_4_kib(bencher: Bencher<'_, '_>) {
    let ends = ends();
    let (frame, key) = (frame(&ends), ends.signer.verifying_key());
    bencher.bench(|| verify(&frame, &key).unwrap());
}

#[divan::bench]
fn open_4_kib(bencher: Bencher<'_, '_>) {
    let ends = ends();
    let verified = verify(&frame(&ends), &ends.signer.verifying_key()).unwrap();
    bencher.bench(|| open(&verified, &ends.secret).unwrap());
}

fn main() {
    divan::main();
}
