//! A client of the rig's own: MQTT 5 packets made by hand, over TLS as any box would speak it.
//!
//! Deliberately absent: any library that would refuse to say something wrong.
//!
//! Source: OASIS MQTT 5.0, cited as "MQTT 5".

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// First bytes of packets (MQTT 5, 2.1.2).
pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const DISCONNECT: u8 = 0xE0;

/// How long a client of the rig waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Who a box is on the network, read from its enrolment.
pub(super) struct Identity {
    /// Its id, as topics write it.
    pub(super) digits: String,
    /// The name that the gateway's certificate bears.
    pub(super) server_name: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authority: CertificateDer<'static>,
}

impl Identity {
    /// Reads the enrolment file of a box.
    pub(super) fn read(enrolment: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(enrolment)
            .with_context(|| format!("cannot read {}", enrolment.display()))?;
        let file: toml::Table = toml::from_str(&text).context("an enrolment that is no TOML")?;
        let field = |part: &str, name: &str| {
            let value = file.get(part).and_then(|part| part.get(name)?.as_str());
            value.with_context(|| format!("the enrolment has no {part}.{name}"))
        };
        let chain = field("keys", "tls_certificate")?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        Ok(Self {
            digits: field("box", "id")?.replace('-', ""),
            server_name: field("gateway", "server_name")?.to_owned(),
            chain: chain.context("a certificate that is no PEM")?,
            key: PrivateKeyDer::from_pem_slice(field("keys", "tls_key")?.as_bytes())
                .context("a key that is no PEM")?,
            authority: CertificateDer::from_pem_slice(
                field("gateway", "ca_certificate")?.as_bytes(),
            )
            .context("an authority that is no PEM")?,
        })
    }

    /// TLS as this box, in `versions`.
    pub(super) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> anyhow::Result<ClientConnection> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        let name = ServerName::try_from(self.server_name.clone())?;
        Ok(ClientConnection::new(Arc::new(config), name)?)
    }
}

/// One packet as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Its first byte.
    pub(super) first: u8,
    /// What follows the remaining length.
    pub(super) body: Vec<u8>,
}

impl Packet {
    /// Its kind, without flags.
    pub(super) fn kind(&self) -> u8 {
        self.first & 0xF0
    }

    /// Topic, packet id (0 with QoS 0) and payload of a PUBLISH (MQTT 5, 3.3.2).
    pub(super) fn publish(&self) -> Option<(String, u16, &[u8])> {
        let (topic, rest) = text(&self.body)?;
        let (id, rest) = if self.first & 0x06 == 0 {
            (0, rest)
        } else {
            let (id, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_be_bytes(*id), rest)
        };
        let (properties, used) = remaining_length(rest)?;
        let payload = rest.get(used + properties..)?;
        Some((topic, id, payload))
    }

    /// The reason code of CONNACK, PUBACK or DISCONNECT, or the first one of SUBACK; 0 where
    /// it may be left out.
    pub(super) fn reason(&self) -> u8 {
        let at = match self.kind() {
            CONNACK => 1,
            PUBACK => 2,
            DISCONNECT => 0,
            _ => return self.body.last().copied().unwrap_or_default(),
        };
        self.body.get(at).copied().unwrap_or_default()
    }

    /// The whole packet as bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        packet(self.first, &self.body)
    }
}

/// Takes the first whole packet off `buffer`.
pub(super) fn take_packet(buffer: &mut Vec<u8>) -> Option<Packet> {
    let (first, rest) = buffer.split_first()?;
    let (length, used) = remaining_length(rest)?;
    let body = rest.get(used..used + length)?.to_vec();
    let first = *first;
    buffer.drain(..1 + used + length);
    Some(Packet { first, body })
}

/// A packet from its first byte and its body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).unwrap_or_default();
        rest /= 128;
        bytes.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// CONNECT (MQTT 5, 3.1), with a will on a topic if one is named.
pub(super) fn connect(client: &str, keep_alive_s: u16, will: Option<&str>) -> Vec<u8> {
    let mut body = string("MQTT");
    // version, flags (clean start; will, QoS 1, retained), keep-alive, no properties
    body.extend([5, if will.is_some() { 0b0010_1110 } else { 0b10 }]);
    body.extend(keep_alive_s.to_be_bytes());
    body.push(0);
    body.extend(string(client));
    if let Some(topic) = will {
        body.push(0);
        body.extend(string(topic));
        body.extend(string("gone"));
    }
    packet(0x10, &body)
}

/// PUBLISH with `flags` (DUP, QoS, RETAIN; MQTT 5, 3.3.1).
pub(super) fn publish(topic: &str, id: u16, payload: &[u8], flags: u8) -> Vec<u8> {
    let mut body = string(topic);
    if flags & 0x06 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.push(0);
    body.extend_from_slice(payload);
    packet(PUBLISH | flags, &body)
}

/// SUBSCRIBE to one filter at QoS 1 (MQTT 5, 3.8).
pub(super) fn subscribe(id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.push(0);
    body.extend(string(filter));
    body.push(1);
    packet(0x82, &body)
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

/// A variable byte integer, and how many bytes it takes (MQTT 5, 1.5.5).
fn remaining_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// A connection of the rig.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    inbound: Vec<u8>,
}

impl Client {
    /// TLS 1.3 as the box `identity`, not yet a word of MQTT.
    pub(super) fn tls(addr: SocketAddr, identity: &Identity) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(addr).context("cannot connect")?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        socket.set_write_timeout(Some(ANSWER_LIMIT))?;
        let connection = identity.client(&[&rustls::version::TLS13])?;
        Ok(Self {
            stream: StreamOwned::new(connection, socket),
            inbound: Vec::new(),
        })
    }

    /// Connected as the box `identity`, with the reason code of the answer.
    pub(super) fn connect(
        addr: SocketAddr,
        identity: &Identity,
        will: Option<&str>,
    ) -> anyhow::Result<(Self, u8)> {
        let mut client = Self::tls(addr, identity)?;
        client.send(&connect(&identity.digits, 60, will))?;
        let answer = client.next()?.context("closed without CONNACK")?;
        let reason = answer.reason();
        Ok((client, reason))
    }

    /// Says `bytes`.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next packet; `None` when the other end has closed.
    pub(super) fn next(&mut self) -> io::Result<Option<Packet>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(packet) = take_packet(&mut self.inbound) {
                return Ok(Some(packet));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    let heard = buffer.get(..count).unwrap_or_default();
                    self.inbound.extend_from_slice(heard);
                }
                Err(err) if is_end(&err) => return Ok(None),
                Err(err) => return Err(err),
            }
        }
    }

    /// The next packet of one kind; `None` when the other end has closed.
    pub(super) fn next_of(&mut self, kind: u8) -> io::Result<Option<Packet>> {
        while let Some(packet) = self.next()? {
            if packet.kind() == kind {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// How the other end ends: the reason of its DISCONNECT, or none.
    pub(super) fn end(&mut self) -> io::Result<Option<u8>> {
        let mut reason = None;
        while let Some(packet) = self.next()? {
            if matches!(packet.kind(), DISCONNECT | CONNACK) {
                reason = Some(packet.reason());
            }
        }
        Ok(reason)
    }
}

/// Whether an error is the end that a refused client must expect.
fn is_end(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::InvalidData
    )
}

#[cfg(test)]
mod tests {
    use super::{Packet, packet, publish, take_packet};

    #[test]
    fn a_packet_is_taken_when_it_is_whole_and_not_before() {
        let whole = packet(0x30, &[7; 200]);
        assert_eq!(whole[..3], [0x30, 0xC8, 0x01]);
        let mut buffer = whole[..150].to_vec();
        assert_eq!(take_packet(&mut buffer), None);
        buffer.extend_from_slice(&whole[150..]);
        buffer.push(0xC0);
        let taken = take_packet(&mut buffer).unwrap();
        assert_eq!((taken.first, taken.body.len()), (0x30, 200));
        assert_eq!((buffer, taken.bytes()), (vec![0xC0], whole));
    }

    #[test]
    fn what_is_published_is_read_as_it_was_meant() {
        let mut bytes = publish("ecg/1/x/state", 9, b"payload", 0x02);
        let packet = take_packet(&mut bytes).unwrap();
        let (topic, id, payload) = packet.publish().unwrap();
        assert_eq!(
            (topic.as_str(), id, payload),
            ("ecg/1/x/state", 9, &b"payload"[..])
        );
        let cut = Packet {
            first: 0x32,
            body: vec![0, 40, b'e'],
        };
        assert_eq!(cut.publish(), None);
    }
}
