//! What the pages keep secret: texts that only this process can read or make, and texts that nobody can guess. The keys
//! are made at the start and stored nowhere, so a restart signs everybody out.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hmac};
use data_encoding::BASE64URL_NOPAD;
use mandate_pdp::access_request::random_token;

/// A text that cannot be guessed, of letters and digits.
pub fn unguessable() -> String {
    random_token()
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest_bytes = [0; 32];
    digest_bytes.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest_bytes
}

/// The SHA-256 of a text, in Base64.
pub fn sha256_text(text: &str) -> String {
    BASE64URL_NOPAD.encode(&sha256(text.as_bytes()))
}

/// A key that makes and checks proofs of texts.
pub struct ProofKey(hmac::Key);

impl ProofKey {
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// A proof that somebody with the key has seen these parts, in this order.
    pub fn prove(&self, parts: &[&[u8]]) -> String {
        BASE64URL_NOPAD.encode(hmac::sign(&self.0, &joined(parts)).as_ref())
    }

    /// Whether this is the proof of these parts. It takes the same time, wherever they differ.
    pub fn is_proof(&self, parts: &[&[u8]], proof: &str) -> bool {
        let proof = BASE64URL_NOPAD.decode(proof.as_bytes());
        proof.is_ok_and(|proof| hmac::verify(&self.0, &joined(parts), &proof).is_ok())
    }
}

/// All parts, so that no others are the same: each after its length.
fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

/// A key for texts that others carry for us, and that they can neither read nor change.
pub struct Seal(Option<RandomizedNonceKey>);

impl Seal {
    pub fn new() -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, &sha256(unguessable().as_bytes())).ok())
    }

    /// Seals a text for a purpose; `None` if the system has no random numbers.
    pub fn seal(&self, purpose: &str, text: &str) -> Option<String> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.0.as_ref()?.seal_in_place_append_tag(Aad::from(purpose), &mut sealed).ok()?;
        let sealed = [nonce.as_ref().as_slice(), &sealed].concat();
        Some(BASE64URL_NOPAD.encode(&sealed))
    }

    /// The text that was sealed for this purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<String> {
        let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let (nonce, mut rest) = (Nonce::try_assume_unique_for_key(nonce).ok()?, rest.to_vec());
        let text = self.0.as_ref()?.open_in_place(nonce, Aad::from(purpose), &mut rest).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{ProofKey, Seal};

    #[test]
    fn proofs_are_of_one_key_and_the_same_parts() {
        let key = ProofKey::new("a");
        let proof = key.prove(&[b"ab", b"c"]);
        assert!(key.is_proof(&[b"ab", b"c"], &proof));
        assert!(!key.is_proof(&[b"a", b"bc"], &proof));
        assert!(!key.is_proof(&[b"ab", b"c"], &proof[1..]));
        assert!(!key.is_proof(&[b"ab", b"c"], ""));
        assert!(!ProofKey::new("b").is_proof(&[b"ab", b"c"], &proof));
    }

    #[test]
    fn sealed_texts_are_for_one_purpose() {
        let seal = Seal::new();
        let sealed = seal.seal("cursor", "contoso").unwrap();
        assert!(!sealed.contains("contoso"));
        assert_eq!(seal.open("cursor", &sealed).as_deref(), Some("contoso"));
        assert_eq!(seal.open("attempt", &sealed), None);
        assert_eq!(seal.open("cursor", &sealed[1..]), None);
        assert_eq!(seal.open("cursor", ""), None);
        assert_eq!(Seal::new().open("cursor", &sealed), None);
    }
}
