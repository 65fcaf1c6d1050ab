//! Topics: what is read is written the same.
#![no_main]

use cardio_wire::topic::Topic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
});
