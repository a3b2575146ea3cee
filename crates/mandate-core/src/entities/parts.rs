//! Versions of parts of the entities. Each uid belongs to one part, by its hash, and a part gets a new version with every
//! edit of its entities. Whoever keeps what it found under some uids can tell by the versions of their parts that
//! nothing of it has changed, without looking up any of them.

use std::sync::Arc;

use crate::version::Version;

/// One of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(u16);

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// The versions of all parts. Cloning is cheap, and a clone with new versions shares most of the others.
#[derive(Clone)]
pub struct PartVersions(Arc<[Arc<[Version; WIDTH]>; WIDTH]>);

/// All parts are empty. Others that are empty have other versions: their uids may belong to other parts.
impl Default for PartVersions {
    fn default() -> Self {
        let versions = Arc::new([Version::new_unique(); WIDTH]);
        Self(Arc::new(std::array::from_fn(|_| Arc::clone(&versions))))
    }
}

impl Part {
    pub fn of_hash(uid_hash: u32) -> Self {
        let [high, low, ..] = (uid_hash >> (u32::BITS - 2 * BITS)).to_le_bytes();
        Self(u16::from_le_bytes([high, low]))
    }

    fn place(self) -> (usize, usize) {
        let number = usize::from(self.0);
        (number / WIDTH % WIDTH, number % WIDTH)
    }
}

impl PartVersions {
    /// The version of a part: equal versions mean equal entities, wherever they are from.
    pub fn get(&self, part: Part) -> Version {
        let (row, column) = part.place();
        self.0.get(row).and_then(|row| row.get(column)).copied().unwrap_or_else(Version::new_unique)
    }

    /// Gives a part a new version.
    pub fn renew(&mut self, part: Part) {
        let (row, column) = part.place();
        let version =
            Arc::make_mut(&mut self.0).get_mut(row).and_then(|row| Arc::make_mut(row).get_mut(column));
        if let Some(version) = version {
            *version = Version::new_unique();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_renews_its_part_only() {
        let before = PartVersions::default();
        let mut after = before.clone();
        let part = Part::of_hash(0xABCD_EF01);
        after.renew(part);
        let parts = (0..4096_u32).map(|number| Part::of_hash(number << 20));
        let renewed: Vec<Part> = parts.filter(|part| before.get(*part) != after.get(*part)).collect();
        assert_eq!(renewed, [part]);
        assert_ne!(before.get(part), PartVersions::default().get(part));
    }
}
