//! How a client says who it is before its first message.
//!
//! Source: D-Bus Specification 0.43, "Authentication Protocol". The answer to EXTERNAL is
//! always yes: whoever can reach the socket of a simulator may use it.

use std::io::{BufRead, Read as _, Write};

/// Longest line of a client.
const LINE_MAX: u64 = 512;
/// Lines after which a client that does not begin is given up.
const LINES_MAX: usize = 16;

/// Carries the conversation to its end. `false` when the client is none of D-Bus.
pub(crate) fn authenticate(from: &mut impl BufRead, to: &mut impl Write, guid: &str) -> bool {
    let mut first = [0_u8; 1];
    if from.read_exact(&mut first).is_err() || first != [0] {
        return false;
    }
    for _ in 0..LINES_MAX {
        let mut line = Vec::new();
        let read = from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        if !matches!(read, Ok(len) if len > 0) {
            return false;
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_whitespace();
        let answer = match (words.next(), words.next()) {
            (Some("AUTH"), Some("EXTERNAL")) | (Some("DATA"), _) => format!("OK {guid}\r\n"),
            (Some("AUTH" | "CANCEL"), _) => "REJECTED EXTERNAL\r\n".to_owned(),
            (Some("BEGIN"), _) => return true,
            // Among them NEGOTIATE_UNIX_FD.
            _ => "ERROR\r\n".to_owned(),
        };
        if to.write_all(answer.as_bytes()).is_err() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::authenticate;

    fn answers(said: &[u8]) -> (bool, String) {
        let mut out = Vec::new();
        let ok = authenticate(&mut &*said, &mut out, "f00d");
        (ok, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_client_is_let_in_and_asked_for_no_descriptors() {
        let said = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
        assert_eq!(answers(said), (true, "OK f00d\r\nERROR\r\n".to_owned()));
    }

    #[test]
    fn what_is_no_client_is_let_go() {
        assert!(!answers(b"GET / HTTP/1.1\r\n").0);
        assert!(!answers(b"\0AUTH\r\n").0);
        assert!(!answers(&[&[0][..], &[b'x'; 100_000]].concat()).0);
    }
}
