//! cardio-sim.
fn main() {}
