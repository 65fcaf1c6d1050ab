//! Values of the Device Information service.

use crate::decoder::DecodeError;
use crate::fields::Fields;

/// A text as a device gives it: UTF-8 with trailing NULs and spaces cut, what is no UTF-8
/// replaced. `None` when nothing is left.
pub fn text_of(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// System ID (DIS 3.6) as an EUI-64, most significant byte first: the value is sent the other
/// way round. `None` for a value of another length.
pub fn system_id_of(value: &[u8]) -> Option<[u8; 8]> {
    let mut id: [u8; 8] = value.try_into().ok()?;
    id.reverse();
    Some(id)
}

/// PnP ID (DIS 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PnpId {
    /// 1 for numbers of the Bluetooth SIG, 2 for USB.
    pub source: u8,
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
    /// Version.
    pub version: u16,
}

impl PnpId {
    /// Reads the value.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(value);
        let id = Self {
            source: fields.u8("Vendor ID Source")?,
            vendor: fields.u16("Vendor ID")?,
            product: fields.u16("Product ID")?,
            version: fields.u16("Product Version")?,
        };
        fields.end()?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::{PnpId, system_id_of, text_of};

    #[test]
    fn texts_lose_the_nulls_that_devices_leave_behind() {
        assert_eq!(text_of(b"H10\0\0 ").as_deref(), Some("H10"));
        assert_eq!(text_of(b"\0"), None);
        assert!(text_of(&[0xFF, b'a']).is_some());
    }

    #[test]
    fn a_system_id_begins_with_the_maker_and_has_eight_bytes() {
        let sent = [0x9C, 0xE4, 0x41, 0xFE, 0xFF, 0xD0, 0x22, 0xA0];
        let id = system_id_of(&sent).unwrap();
        assert_eq!(id[..3], [0xA0, 0x22, 0xD0]);
        assert_eq!(system_id_of(&sent[1..]), None);
    }

    #[test]
    fn a_pnp_id_is_seven_bytes() {
        let id = PnpId::decode(&[1, 0x6B, 0, 0x11, 0, 0x02, 0x03]).unwrap();
        assert_eq!((id.vendor, id.version), (0x6B, 0x0302));
        assert_eq!(PnpId::decode(&[1; 8]).unwrap_err().code(), "frame.trailing");
    }
}
