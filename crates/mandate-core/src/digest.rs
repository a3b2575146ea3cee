//! Digests of content: they name the content of policies, a schema or entities, the same on every machine. A
//! `version.rs` number is cheaper, but only means something in one process.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of the parts. The length of each part is included, so that different lists differ.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The first 16 hexadecimal digits: short enough to read aloud, long enough to distinguish versions.
    pub fn short(&self) -> String {
        HEXLOWER.encode(self.0.split_at(8).0)
    }
}

/// Makes the [`Digest`] of one part that comes in pieces.
pub struct PartDigest(Sha256);

impl PartDigest {
    /// Begins with a part of `length` bytes.
    pub fn new(length: u64) -> Self {
        Self(Sha256::new_with_prefix(length.to_le_bytes()))
    }

    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of the part; of nothing else if its length is another one.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest of a set that changes by one member at a time: a sum of the members' digests, so the order does
/// not matter, and adding or removing a member does not touch the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetDigest([u64; 4]);

impl SetDigest {
    pub fn add(&mut self, member: &Digest) {
        self.combine(member, u64::wrapping_add);
    }

    pub fn remove(&mut self, member: &Digest) {
        self.combine(member, u64::wrapping_sub);
    }

    /// Adds all members of another set.
    pub fn add_all(&mut self, members: &Self) {
        for (sum, word) in self.0.iter_mut().zip(members.0) {
            *sum = sum.wrapping_add(word);
        }
    }

    /// The sum as bytes, from which [`Self::from_bytes`] goes on.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    /// The digest of the members together.
    pub fn digest(&self) -> Digest {
        Digest::of([self.to_bytes().as_slice()])
    }

    fn combine(&mut self, member: &Digest, with: impl Fn(u64, u64) -> u64) {
        for (sum, chunk) in self.0.iter_mut().zip(member.0.chunks_exact(8)) {
            let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            *sum = with(*sum, word);
        }
    }
}
