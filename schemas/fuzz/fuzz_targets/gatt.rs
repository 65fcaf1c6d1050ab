//! Sensors on Bluetooth Low Energy: any values on any characteristic, in any order.
//!
//! Input: which profile, then steps: a byte that chooses the characteristic (one beyond the last:
//! time passes instead), a byte with the length, the value.
#![no_main]

use std::sync::LazyLock;

use cardio_fuzz::{MIB, NOW, characteristics, within};
use cardio_protocol::gatt::{self, GattProfile, Uuid};
use cardio_protocol::session::SessionTiming;
use libfuzzer_sys::fuzz_target;

static PLACES: LazyLock<Vec<Vec<Uuid>>> =
    LazyLock::new(|| gatt::ALL.into_iter().map(characteristics).collect());

fuzz_target!(|bytes: &[u8]| {
    let Some((which, steps)) = bytes.split_first() else {
        return;
    };
    let at = usize::from(*which) % gatt::ALL.len();
    let places = &PLACES[at];
    within(2 * MIB, || converse(gatt::ALL[at], places, steps));
});

fn converse(profile: &GattProfile, places: &[Uuid], mut steps: &[u8]) {
    let Some(session) = profile.session else {
        return;
    };
    let mut session = session(SessionTiming::default());
    let mut now = NOW;
    session.start(now);
    while let [place, len, rest @ ..] = steps {
        let (value, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        steps = rest;
        match places.get(usize::from(*place) % (places.len() + 1)) {
            Some(uuid) => {
                let mut events = Vec::new();
                let actions = session.on_value(*uuid, value, now, &mut events);
                assert!(
                    events.len() <= 16 * (value.len() + 1),
                    "an event takes bytes"
                );
                assert!(actions.len() <= 16, "a value asks for little");
            }
            None => {
                now = now.plus_micros(100_000 * u64::from(*len));
                session.on_tick(now);
            }
        }
    }
    session.stop();
}
