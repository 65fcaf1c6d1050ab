//! Bytes of a text field to text: UTF-8 when it is, else Latin-1, never an error.

/// Text of a field; bytes that are no UTF-8 are read as Latin-1.
pub(crate) fn lossless(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(
        |_| bytes.iter().map(|byte| char::from(*byte)).collect(),
        str::to_owned,
    )
}

/// Whether bytes look like a text file: no control characters but line ends and tabs.
pub(crate) fn looks_like_text(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| *byte >= 0x20 || matches!(byte, b'\n' | b'\r' | b'\t'))
}

/// The first bytes of a file for an error message.
pub(crate) fn head_of(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(16)).unwrap_or_default();
    if head.is_empty() {
        return "none (it is empty)".to_owned();
    }
    if looks_like_text(head) && head.is_ascii() {
        return format!("{:?}", lossless(head));
    }
    head.iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
