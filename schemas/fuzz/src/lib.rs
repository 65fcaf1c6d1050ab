//! What the targets share: fixed keys, so that hostile bytes get past the signature that a stolen
//! box could make and seeds of one run are good in the next; and a meter of memory.

mod meter;

use std::sync::LazyLock;

use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_protocol::gatt::{GattAction, GattProfile, Uuid};
use cardio_protocol::session::SessionTiming;
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use coset::iana::{Algorithm, CoapContentFormat};
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

pub use meter::within;

/// One mebibyte.
pub const MIB: usize = 1 << 20;

/// Between two files of one input of the target `formats`; a name and a line feed follow.
pub const NEXT_FILE: &[u8] = b"\n--8<-- ";

/// The instant at which every input begins.
pub const NOW: BoxInstant = BoxInstant {
    boot: BootId([1; 16]),
    micros: 1_000_000,
};

/// Signs for a box and for a gateway. Its PKCS#8 form is that of RFC 8410 with the public key.
pub static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| {
    let seed = [1; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("32 bytes are a seed");
    let mut document = b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2B\x65\x70\x04\x22\x04\x20".to_vec();
    document.extend(seed);
    document.extend(b"\xA1\x23\x03\x21\x00");
    document.extend(pair.public_key().as_ref());
    SigningKey::from_pkcs8(&document).expect("this is the form of RFC 8410")
});

/// Opens what the seeds seal.
pub static SECRET: LazyLock<RecipientSecretKey> =
    LazyLock::new(|| RecipientSecretKey::from_bytes(&[2; 32]).expect("32 bytes are a key"));

/// Any payload, signed for a purpose.
pub fn signed(payload: &[u8], purpose: &[u8]) -> Vec<u8> {
    let protected = HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_format(CoapContentFormat::Cbor)
        .key_id(SIGNER.key_id().0.to_vec())
        .build();
    CoseSign1Builder::new()
        .protected(protected)
        .payload(payload.to_vec())
        .create_signature(purpose, |message| SIGNER.sign(message).to_vec())
        .build()
        .to_tagged_vec()
        .expect("a header without repeated labels always encodes")
}

/// The characteristics that matter to a kind of device: those that it must have, and those that
/// the box asks for at the start.
pub fn characteristics(profile: &GattProfile) -> Vec<Uuid> {
    let own = profile
        .services
        .iter()
        .flat_map(|service| service.characteristics);
    let mut all: Vec<Uuid> = own.map(|characteristic| characteristic.uuid).collect();
    let asked = profile.session.map(|session| session(SessionTiming::default()).start(NOW));
    all.extend(asked.into_iter().flatten().map(|action| match action {
        GattAction::Subscribe(uuid) | GattAction::Read(uuid) => uuid,
        GattAction::Write { to, .. } => to,
    }));
    all.sort();
    all.dedup();
    all
}
