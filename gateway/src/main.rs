//! cardio-gateway.
fn main() {}
