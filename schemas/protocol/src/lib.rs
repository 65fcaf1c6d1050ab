//! Bytes between a sensor and the box, both directions, without IO.
