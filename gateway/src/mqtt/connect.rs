//! The first exchange of a connection: CONNECT, and the answer to it.

use std::time::Duration;

use bytes::BytesMut;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, DisconnectReasonCode, LastWill, Packet,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::packet;
use super::session::End;
use crate::boxes::KnownBox;

/// Frames that a box may have under way without PUBACK.
pub(super) const RECEIVE_MAX: u16 = 64;
/// Keep-alive for clients that ask for none, in seconds.
const KEEP_ALIVE_DEFAULT_S: u16 = 60;
/// How long a write may take.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Room that is made for one read.
pub(super) const READ_CHUNK_BYTES: usize = 16 * 1024;

pub(super) async fn first_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    inbound: &mut BytesMut,
) -> Result<Packet, ConnectReturnCode> {
    loop {
        match packet::next(inbound) {
            Ok(Some(packet)) => return Ok(packet),
            Ok(None) => {}
            Err(DisconnectReasonCode::PacketTooLarge) => {
                return Err(ConnectReturnCode::PacketTooLarge);
            }
            Err(_) => return Err(ConnectReturnCode::MalformedPacket),
        }
        inbound.reserve(READ_CHUNK_BYTES);
        if !matches!(stream.read_buf(inbound).await, Ok(1..)) {
            return Err(ConnectReturnCode::UnspecifiedError);
        }
    }
}

/// Checks CONNECT; answers the keep-alive in seconds and the client's receive maximum.
pub(super) fn accept(
    connect: &Connect,
    will: Option<&LastWill>,
    known: &KnownBox,
) -> Result<(u16, usize), ConnectReturnCode> {
    let properties = connect.properties.as_ref();
    if properties.is_some_and(|p| p.authentication_method.is_some()) {
        return Err(ConnectReturnCode::BadAuthenticationMethod);
    }
    if let Some(will) = will {
        let own = std::str::from_utf8(&will.topic)
            .ok()
            .and_then(|topic| topic.parse::<Topic>().ok());
        if own != Some(Topic::State(known.id)) {
            return Err(ConnectReturnCode::NotAuthorized);
        }
        if will.qos == QoS::ExactlyOnce {
            return Err(ConnectReturnCode::QoSNotSupported);
        }
    }
    let keep_alive_s = match connect.keep_alive {
        0 => KEEP_ALIVE_DEFAULT_S,
        asked => asked,
    };
    let window = properties
        .and_then(|p| p.receive_maximum)
        .unwrap_or(u16::MAX);
    Ok((keep_alive_s, usize::from(window.max(1))))
}

pub(super) fn connack(
    code: ConnectReturnCode,
    keep_alive_s: Option<u16>,
    assigned: Option<cardio_core::ids::BoxId>,
) -> ConnAck {
    let properties = keep_alive_s.map(|server_keep_alive| ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_max: Some(RECEIVE_MAX),
        max_qos: Some(1),
        retain_available: Some(1),
        max_packet_size: Some(packet::PACKET_MAX_BYTES),
        assigned_client_identifier: assigned.map(|id| id.to_string()),
        topic_alias_max: Some(0),
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: Some(server_keep_alive),
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    });
    ConnAck {
        session_present: false,
        code,
        properties,
    }
}

pub(super) async fn send_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    packets: &[Packet],
) -> Result<(), End> {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.write(&mut bytes, None).map_err(|_| End::Gone)?;
    }
    write_all(stream, &bytes).await
}

pub(super) async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
) -> Result<(), End> {
    let writing = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match tokio::time::timeout(WRITE_LIMIT, writing).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End::Gone),
    }
}
