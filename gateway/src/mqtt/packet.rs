//! Packets on a byte stream, and the reason a peer is given when its bytes are refused.

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v5::{DisconnectReasonCode, Packet};

/// The largest packet: a frame, its topic and its properties.
pub(crate) const PACKET_MAX_BYTES: u32 = 256 * 1024 + 1024;

/// Takes the next packet from the front of `buffer`; `None` until it is complete.
///
/// # Errors
/// The reason to disconnect with, when the bytes are no packet that is allowed.
pub(crate) fn next(buffer: &mut BytesMut) -> Result<Option<Packet>, DisconnectReasonCode> {
    if buffer.is_empty() {
        return Ok(None);
    }
    match Packet::read(buffer, Some(PACKET_MAX_BYTES)) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(reason(&error)),
    }
}

const fn reason(error: &Error) -> DisconnectReasonCode {
    match error {
        Error::PayloadSizeLimitExceeded { .. } => DisconnectReasonCode::PacketTooLarge,
        Error::ProtocolViolation(reason) => *reason,
        Error::ProtocolError | Error::PacketIdZero | Error::EmptySubscription => {
            DisconnectReasonCode::ProtocolError
        }
        _ => DisconnectReasonCode::MalformedPacket,
    }
}

#[cfg(test)]
mod tests {
    use super::{DisconnectReasonCode, Packet, next};
    use bytes::BytesMut;
    use proptest::prelude::*;

    #[test]
    fn half_a_packet_waits_for_the_rest() {
        let mut buffer = BytesMut::from(&[0xC0_u8][..]);
        assert_eq!(next(&mut buffer), Ok(None));
        buffer.extend_from_slice(&[0x00]);
        assert_eq!(next(&mut buffer), Ok(Some(Packet::PingReq)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_packet_beyond_the_limit_is_refused_by_its_header() {
        let mut buffer = BytesMut::from(&[0x30_u8, 0xFF, 0xFF, 0xFF, 0x7F][..]);
        assert_eq!(next(&mut buffer), Err(DisconnectReasonCode::PacketTooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_packets_or_a_reason(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next(&mut buffer) {}
        }
    }
}
