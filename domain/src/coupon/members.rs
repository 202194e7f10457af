//! Who claimed how often, in about sixteen bytes per claim however many there are.
//!
//! A hash map of a million random ids costs three to five times their size, and a tree not much less. This is
//! a *multiset in sorted runs*: each claim is its member's 128 bits once, so a count is a range in a sorted
//! array and needs no field of its own. New claims go into a small sorted run; a run that is full is
//! merged into the next one, which is `GROWTH` times as large, in place and from the back. Every claim
//! is thus moved a bounded number of times per run, and every run but the first is exactly as large as its
//! contents.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use crate::ids::MemberId;

/// How many claims the newest run holds before it is merged: 4 KiB, which stays in the first-level cache.
const NEWEST_MAX: usize = 256;
/// How many times larger each run may be than the one before it.
const GROWTH: usize = 8;
/// The size of one claim in the packed form, in bytes.
const PACKED: usize = 16;

/// A multiset of members: one entry per claim.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Sorted runs, the newest and smallest first; run `i` holds at most `NEWEST_MAX * GROWTH^i` entries.
    runs: Vec<Vec<u128>>,
}

impl Members {
    /// Counts one claim more for `member`. Amortised O(log n).
    pub fn add(&mut self, member: MemberId) {
        if self.runs.is_empty() {
            self.runs.push(Vec::with_capacity(NEWEST_MAX));
        }
        let newest = &mut self.runs[0];
        let entry = member.0.as_u128();
        newest.insert(newest.partition_point(|known| *known <= entry), entry);
        if newest.len() == NEWEST_MAX {
            self.settle();
        }
    }

    /// How many claims `member` has.
    #[must_use]
    pub fn count(&self, member: MemberId) -> u32 {
        let entry = member.0.as_u128();
        let count: usize = self.runs.iter().map(|run| occurrences(run, entry)).sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many claims there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    /// True when nobody has claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The heap bytes it occupies, by capacity.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries: usize = self.runs.iter().map(Vec::capacity).sum();
        entries * size_of::<u128>() + self.runs.capacity() * size_of::<Vec<u128>>()
    }

    /// Merges each full run into the next. The newest keeps its memory, because it fills again at once;
    /// the others give theirs back.
    fn settle(&mut self) {
        let mut full = self.runs[0].clone();
        self.runs[0].clear();
        let mut most = NEWEST_MAX;
        for i in 1.. {
            most = most.saturating_mul(GROWTH);
            if i == self.runs.len() {
                self.runs.push(full);
                return;
            }
            merge(&mut self.runs[i], &full);
            if self.runs[i].len() < most {
                return;
            }
            full = std::mem::take(&mut self.runs[i]);
        }
    }

    /// Every entry in one sorted run.
    fn merged(&self) -> Vec<u128> {
        let mut all = Vec::with_capacity(self.len());
        for run in self.runs.iter().rev() {
            merge(&mut all, run);
        }
        all
    }
}

/// Two multisets are equal when they hold the same, however it lies in runs.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.merged() == other.merged()
    }
}

impl FromIterator<MemberId> for Members {
    fn from_iter<I: IntoIterator<Item = MemberId>>(members: I) -> Self {
        members.into_iter().fold(Self::default(), |mut all, member| {
            all.add(member);
            all
        })
    }
}

/// How often `entry` occurs in a sorted run.
fn occurrences(run: &[u128], entry: u128) -> usize {
    let from = &run[run.partition_point(|known| *known < entry)..];
    // Almost every member has claimed never or once, so looking at the next entry or two beats a search.
    from.iter().take_while(|known| **known == entry).count()
}

/// Merges a sorted run into another, in place: the target grows by exactly the added length, and is then filled
/// from the back, where nothing unread is overwritten.
fn merge(target: &mut Vec<u128>, added: &[u128]) {
    let mut left = target.len();
    let mut right = added.len();
    target.reserve_exact(right);
    target.extend_from_slice(added);
    while left > 0 && right > 0 {
        let larger = if target[left - 1] > added[right - 1] {
            left -= 1;
            target[left]
        } else {
            right -= 1;
            added[right]
        };
        target[left + right] = larger;
    }
    target[..right].copy_from_slice(&added[..right]);
}

/// One base64 string of the sorted entries, big-endian: a snapshot of a million claims is 21 MB, not 60.
impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let packed: Vec<u8> = self.merged().iter().flat_map(|entry| entry.to_be_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(packed))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let packed = STANDARD.decode(text).map_err(D::Error::custom)?;
        let (entries, rest) = packed.as_chunks::<PACKED>();
        if !rest.is_empty() {
            return Err(D::Error::custom("members are not a whole number of entries"));
        }
        let all: Vec<u128> = entries.iter().map(|entry| Uuid::from_bytes(*entry).as_u128()).collect();
        if !all.is_sorted() {
            return Err(D::Error::custom("members are not sorted"));
        }
        Ok(Self::from_sorted(all))
    }
}

impl Members {
    /// Puts a sorted run where its size belongs, so that the next merges stay as rare as they would have been.
    fn from_sorted(all: Vec<u128>) -> Self {
        if all.is_empty() {
            return Self::default();
        }
        let mut runs = vec![Vec::with_capacity(NEWEST_MAX)];
        let mut most = NEWEST_MAX.saturating_mul(GROWTH);
        while all.len() >= most {
            runs.push(Vec::new());
            most = most.saturating_mul(GROWTH);
        }
        runs.push(all);
        Self { runs }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A member whose id looks random, as most do, but follows from `n`.
    fn scattered(n: u64) -> MemberId {
        let mix = |x: u64| (x ^ (x >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        let (high, low) = (mix(n + 1), mix(mix(n + 1)));
        MemberId::from_u128((u128::from(high) << 64) | u128::from(low))
    }

    fn per_claim(members: &Members) -> usize {
        members.bytes().div_ceil(members.len())
    }

    #[test]
    fn a_million_claims_cost_at_most_24_bytes_each_at_every_moment_after_ten_thousand() {
        let mut members = Members::default();
        let mut worst = 0;
        for n in 0..1_000_000 {
            members.add(scattered(n));
            if n >= 10_000 {
                worst = worst.max(per_claim(&members));
            }
        }
        assert_eq!(members.len(), 1_000_000);
        assert!(worst <= 24, "{worst} bytes per claim at worst");
        assert!((0..1_000).all(|n| members.count(scattered(n * 997)) == 1));
        assert!((0..1_000).all(|n| members.count(scattered(2_000_000 + n)) == 0));
        let read: Members = serde_json::from_str(&serde_json::to_string(&members).unwrap()).unwrap();
        assert!(read == members);
        assert!(per_claim(&read) <= 24);
    }

    #[test]
    fn ids_in_order_of_time_cost_no_more_than_random_ones() {
        let members: Members = (0..100_000).map(MemberId::from_u128).collect();
        assert!(per_claim(&members) <= 24);
        assert_eq!(members.count(MemberId::from_u128(99_999)), 1);
    }

    #[test]
    fn one_member_with_very_many_claims_is_counted_right() {
        let members: Members = (0..10_000).map(|_| scattered(7)).collect();
        assert_eq!(members.count(scattered(7)), 10_000);
        assert_eq!(members.count(scattered(8)), 0);
    }

    #[test]
    fn a_snapshot_is_one_string_and_a_damaged_one_is_refused() {
        let two: Members = [MemberId::from_u128(2), MemberId::from_u128(1)].into_iter().collect();
        let json = serde_json::to_string(&two).unwrap();
        assert_eq!(json, r#""AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAI=""#);
        let swapped = STANDARD.encode([[1; 16], [0; 16]].concat());
        for bad in [STANDARD.encode([0; 15]), swapped, "?".into()] {
            assert!(serde_json::from_str::<Members>(&format!("\"{bad}\"")).is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_counts_like_a_map(
            seeds in prop::collection::vec(0_u64..3_000, 0..6_000),
            pauses in prop::collection::vec(0_usize..6_000, 0..4),
        ) {
            let mut members = Members::default();
            let mut model: BTreeMap<MemberId, u32> = BTreeMap::new();
            for (n, seed) in seeds.iter().enumerate() {
                let member = scattered(*seed);
                prop_assert_eq!(members.count(member), model.get(&member).copied().unwrap_or(0));
                members.add(member);
                *model.entry(member).or_default() += 1;
                if pauses.contains(&n) {
                    let stored = serde_json::to_string(&members).unwrap();
                    members = serde_json::from_str(&stored).unwrap();
                }
            }
            prop_assert_eq!(members.len(), seeds.len());
            prop_assert!(members.runs.iter().all(|run| run.is_sorted()));
            for (member, count) in &model {
                prop_assert_eq!(members.count(*member), *count);
            }
        }
    }
}
