//! Versions of parts of the entities. The hash of a uid says to which part it belongs, and every edit gives the part of
//! the entity a new version. So a cache can tell that entities have not changed without looking them up: the versions of
//! their parts are the same.

use std::sync::Arc;

use crate::version::Version;

/// One of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(u16);

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;

/// The versions of all parts, in rows. Cloning is cheap, and a new version copies only its row.
#[derive(Clone)]
pub struct PartVersions(Arc<[Arc<[Version; WIDTH]>; WIDTH]>);

/// The versions before the first edit. They are new each time: hashes have another seed each time, so the same uid may
/// belong to another part.
impl Default for PartVersions {
    fn default() -> Self {
        let versions = Arc::new([Version::new_unique(); WIDTH]);
        Self(Arc::new(std::array::from_fn(|_| Arc::clone(&versions))))
    }
}

impl Part {
    pub fn of_hash(uid_hash: u32) -> Self {
        let [low, high, ..] = (uid_hash >> (u32::BITS - 2 * BITS)).to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    fn place(self) -> (usize, usize) {
        let number = usize::from(self.0);
        (number / WIDTH % WIDTH, number % WIDTH)
    }
}

impl PartVersions {
    /// The version of a part. If it is the same, so are all entities of the part.
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
