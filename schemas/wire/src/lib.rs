//! Bytes between the box and the gateway: records, frames, acknowledgements, topics.
