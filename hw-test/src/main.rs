//! cardio-rig.
fn main() {}
