//! cardio-agent.
fn main() {}
