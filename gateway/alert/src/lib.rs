//! Alert rules and alert states, pure.
