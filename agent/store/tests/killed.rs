//! A process that is killed at any moment leaves everything that it said was stored.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use cardio_wire::keys::SigningKey;
use cardio_wire::lane::Lane;
use ring::rand::SystemRandom;
use support::{Ends, MIB, event, put};

/// Set for the child: the directory of its outbox and key.
const CHILD: &str = "CARDIO_STORE_TEST_CHILD";

fn ends_of(dir: &Path) -> Ends {
    let document = std::fs::read(dir.join("key")).unwrap();
    Ends::with_signer(SigningKey::from_pkcs8(&document).unwrap())
}

/// Stores without end and says so after each commit.
fn child(dir: &Path) -> ! {
    let outbox = ends_of(dir).open(&dir.join("outbox.db"), 64 * MIB).unwrap();
    loop {
        let stored = put(&outbox, Lane::Routine, event(0)).unwrap();
        println!("\nstored {}", stored.identity.seq);
    }
}

#[test]
fn what_a_killed_process_said_was_stored_is_there() {
    if let Some(dir) = std::env::var_os(CHILD) {
        child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let (_, document) = SigningKey::generate(&SystemRandom::new()).unwrap();
    std::fs::write(dir.path().join("key"), &*document).unwrap();
    let mut said = 0;
    for lines in [1_usize, 9, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "what_a_killed_process_said_was_stored_is_there",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let numbers = output
            .lines()
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("stored ").map(str::to_owned));
        for number in numbers.take(lines) {
            said = number.parse::<u64>().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(said > 0, "the child never stored anything");
        check_chain(dir.path(), said);
    }
}

/// Everything up to what was said is there, signed and chained.
fn check_chain(dir: &Path, said: u64) {
    let ends = ends_of(dir);
    let outbox = ends.open(&dir.join("outbox.db"), 64 * MIB).unwrap();
    let frames = outbox
        .next_to_send(Lane::Routine, 0, usize::MAX, usize::MAX)
        .unwrap();
    assert!(u64::try_from(frames.len()).unwrap() >= said);
    let mut prev = cardio_wire::envelope::NO_PREVIOUS;
    for (seq, frame) in (1..).zip(frames) {
        let key = ends.signer.verifying_key();
        let verified = cardio_wire::envelope::verify(&frame.bytes, &key).unwrap();
        assert_eq!((verified.header.seq, verified.header.prev), (seq, prev));
        prev = verified.fingerprint;
    }
}
