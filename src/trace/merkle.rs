//! The tree of RFC 6962 section 2.1, and proofs about it. Pure.
//!
//! A tree of some size has one root, and whoever knows the root can be shown that a record is in it (inclusion) and that a larger tree begins with all that a
//! smaller one held (consistency), by a handful of hashes. Left out: where the records are; whoever makes a proof gives the hash of a stretch of leaves.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The hash of a record.
pub fn leaf(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// The hash of two subtrees, the left one being full.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The right edge of a tree: all that is needed to make it larger and to tell its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the full subtrees that the tree consists of, largest first: one for each bit of its size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A frontier as it was written down. `None`: there is none of this size with so many peaks.
    pub fn of(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (size.count_ones() as usize == peaks.len()).then_some(Self { size, peaks })
    }

    pub const fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf. Where that makes a subtree of `2^level` leaves full, its root is given.
    pub fn push(&mut self, leaf: Hash, level: u32) -> Option<Hash> {
        let mut full = None;
        let mut hash = leaf;
        for height in 0..=self.size.trailing_ones() {
            if height == level {
                full = Some(hash);
            }
            if height < self.size.trailing_ones() {
                let left = self.peaks.pop().expect("there is a peak for each bit of the size");
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        full
    }

    /// Adds a full subtree of `2^level` leaves to a tree of a multiple of that many.
    pub fn push_full(&mut self, root: Hash, level: u32) {
        debug_assert!(self.size.trailing_zeros() >= level || self.size == 0);
        let mut hash = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            let left = self.peaks.pop().expect("there is a peak for each bit of the size");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1 << level;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(*last, |right, left| node(left, &right))
    }
}

/// The hashes that lead from the leaf `index` to the root of the tree of `size` leaves, lowest first. `subtree` gives the root of a stretch of leaves.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    subtree: &mut impl FnMut(Range<u64>) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    let mut stretch = 0..size;
    while stretch.end - stretch.start > 1 {
        let middle = stretch.start + split(stretch.end - stretch.start);
        let (inner, outer) = match index < middle {
            true => (stretch.start..middle, middle..stretch.end),
            false => (middle..stretch.end, stretch.start..middle),
        };
        path.push(subtree(outer)?);
        stretch = inner;
    }
    path.reverse();
    Ok(path)
}

/// The hashes by which the tree of `size` leaves is seen to begin with the one of `earlier`.
pub fn consistency<E>(
    earlier: u64,
    size: u64,
    subtree: &mut impl FnMut(Range<u64>) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    if earlier == 0 || earlier == size {
        return Ok(Vec::new());
    }
    let mut path = Vec::new();
    let mut stretch = 0..size;
    let mut is_whole = true;
    while earlier < stretch.end {
        let middle = stretch.start + split(stretch.end - stretch.start);
        if earlier <= middle {
            path.push(subtree(middle..stretch.end)?);
            stretch.end = middle;
        } else {
            path.push(subtree(stretch.start..middle)?);
            stretch.start = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        path.push(subtree(stretch)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that a proof of inclusion leads to (RFC 9162 section 2.1.3.2). `None`: it cannot be one.
pub fn root_by_inclusion(record: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, record);
    for other in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(other, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, other);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether the tree of `size` leaves and `root` begins with the one of `earlier` leaves and `earlier_root` (RFC 9162 section 2.1.4.2).
pub fn is_consistent(
    (earlier, earlier_root): (u64, &Hash),
    (size, root): (u64, &Hash),
    path: &[Hash],
) -> bool {
    if earlier == size {
        return path.is_empty() && earlier_root == root;
    }
    if earlier == 0 || earlier > size {
        return earlier == 0 && path.is_empty();
    }
    let (mut place, mut last) = (earlier - 1, size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let mut path = path.iter();
    let first = match earlier.is_power_of_two() {
        true => earlier_root,
        false => match path.next() {
            Some(first) => first,
            None => return false,
        },
    };
    let (mut old, mut new) = (*first, *first);
    for other in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old = node(other, &old);
            new = node(other, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node(&new, other);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old == *earlier_root && new == *root
}

/// The largest power of two below `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Leaves and roots that implementations of RFC 6962 test themselves with.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn tree(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::default();
        for leaf in leaves {
            frontier.push(*leaf, u32::MAX);
        }
        frontier
    }

    fn numbered(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
    }

    fn subtree(leaves: &[Hash]) -> impl FnMut(Range<u64>) -> Result<Hash, Infallible> {
        |range| Ok(tree(&leaves[range.start as usize..range.end as usize]).root())
    }

    #[test]
    fn roots_are_those_of_the_rfc() {
        let leaves = LEAVES.map(|text| leaf(&hex::decode(text).expect("digits")));
        for (size, expected) in ROOTS.iter().enumerate() {
            let frontier = tree(&leaves[..size]);
            assert_eq!(hex::encode(frontier.root()), *expected, "{size}");
            let read = Frontier::of(size as u64, frontier.peaks().to_vec());
            assert_eq!(read, Some(frontier));
        }
        assert_eq!(Frontier::of(3, vec![[0; 32]]), None);
    }

    #[test]
    fn full_subtrees_make_the_same_tree() {
        let leaves = numbered(45);
        let mut full = Vec::new();
        let mut one_by_one = Frontier::default();
        for leaf in &leaves {
            full.extend(one_by_one.push(*leaf, 3));
        }
        assert_eq!(full.len(), 5);
        let mut by_eights = Frontier::default();
        full.iter().for_each(|root| by_eights.push_full(*root, 3));
        for leaf in &leaves[40..] {
            by_eights.push(*leaf, 3);
        }
        assert_eq!(by_eights, one_by_one);
    }

    #[test]
    fn every_leaf_is_proved_and_no_other() {
        for size in 1..40 {
            let leaves = numbered(size);
            let root = tree(&leaves).root();
            for index in 0..size {
                let Ok(path) = inclusion(index, size, &mut subtree(&leaves));
                let proved =
                    |record, index, path: &[Hash]| root_by_inclusion(record, index, size, path);
                let record = leaves[index as usize];
                assert_eq!(proved(record, index, &path), Some(root), "{index} of {size}");
                assert_ne!(proved(leaf(b"other"), index, &path), Some(root));
                assert_ne!(
                    proved(record, (index + 1) % size, &path),
                    Some(root).filter(|_| size > 1)
                );
                let longer: Vec<Hash> = path.iter().copied().chain([root]).collect();
                assert_ne!(proved(record, index, &longer), Some(root));
                if let Some(shorter) = path.get(1..) {
                    assert_ne!(proved(record, index, shorter), Some(root));
                }
                for place in 0..path.len() {
                    let mut forged = path.clone();
                    forged[place][7] ^= 1;
                    assert_ne!(proved(record, index, &forged), Some(root));
                }
            }
            assert_eq!(root_by_inclusion(leaves[0], size, size, &[]), None, "beyond the end");
        }
    }

    #[test]
    fn every_earlier_tree_is_proved_and_no_other() {
        for size in 0..40 {
            let leaves = numbered(size);
            let root = tree(&leaves).root();
            for earlier in 0..=size {
                let before = tree(&leaves[..earlier as usize]).root();
                let Ok(path) = consistency(earlier, size, &mut subtree(&leaves));
                let holds = |before: &Hash, path: &[Hash]| {
                    is_consistent((earlier, before), (size, &root), path)
                };
                assert!(holds(&before, &path), "{earlier} of {size}");
                assert!(earlier == 0 || !holds(&leaf(b"other"), &path), "{earlier} of {size}");
                for place in 0..path.len() {
                    let mut forged = path.clone();
                    forged[place][7] ^= 1;
                    assert!(!holds(&before, &forged), "{earlier} of {size}");
                }
                let longer: Vec<Hash> = path.iter().copied().chain([root]).collect();
                assert!(!holds(&before, &longer), "{earlier} of {size}");
            }
            assert!(!is_consistent((size + 1, &root), (size, &root), &[]));
        }
    }
}
