//! One attempt to log in at the provider, from the browser's leaving to its coming back.
//!
//! The browser holds one random secret in a cookie; what is told to the provider follows from it
//! one way: `state` (RFC 6749, 10.12), `nonce` (Core 1.0, 3.1.2.1) and the proof key (RFC 7636).
//! So nothing of an attempt is kept here, whoever begins how many, and any gateway of several can
//! finish it. Who comes back without the cookie has not left from here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::access::Secret;
use crate::access::secret::{SecretError, fingerprint, token};

/// An attempt, by the secret that its browser holds.
#[derive(Debug)]
pub(super) struct Attempt(Secret);

impl Attempt {
    /// A new one.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub(super) fn begin() -> Result<Self, SecretError> {
        token().map(|(secret, _)| Self(secret))
    }

    /// The one of a browser that comes back.
    pub(super) fn of_cookie(cookie: &str) -> Self {
        Self(Secret::new(cookie.to_owned()))
    }

    /// What the browser is to hold.
    pub(super) const fn cookie(&self) -> &Secret {
        &self.0
    }

    fn derived(&self, what: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.text().as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, what.as_bytes()))
    }

    /// What the provider sends back with the browser.
    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    /// Whether this is what was sent along. Comparing hashes tells nothing of what is compared.
    pub(super) fn is_state(&self, state: &str) -> bool {
        fingerprint(state) == fingerprint(&self.state())
    }

    /// What the ID token must hold.
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What proves to the provider that who redeems the code has begun the attempt.
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// What it is told of that at the beginning.
    pub(super) fn challenge(&self) -> String {
        challenge(&self.verifier())
    }
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{Attempt, challenge};

    #[test]
    fn the_example_of_rfc_7636_gives_its_challenge() {
        // RFC 7636, appendix B.
        let told = challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(told, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn what_is_told_differs_and_is_known_again_by_the_cookie_alone() {
        let one = Attempt::begin().unwrap();
        let told = [one.state(), one.nonce(), one.verifier(), one.challenge()];
        let mut distinct: Vec<&String> = told.iter().collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 4);
        assert!(told.iter().all(|text| text.len() == 43));
        let back = Attempt::of_cookie(one.cookie().text());
        assert!(back.is_state(&told[0]) && back.nonce() == told[1]);
        let other = Attempt::begin().unwrap();
        assert!(!other.is_state(&told[0]) && !back.is_state(""));
    }
}
