//! The contract of [`Keys`].

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::Harness;
use crate::keys::{Keys, MemberKey};

/// Everything a key store promises.
///
/// # Panics
/// When it does not keep it.
pub async fn keys(harness: &dyn Harness<dyn Keys>) {
    a_member_has_one_key_for_ever(harness).await;
    racing_first_uses_make_one_key(harness).await;
    forgetting_is_final(harness).await;
    keys_can_be_moved_elsewhere(harness).await;
}

const fn member(n: u128) -> Uuid {
    Uuid::from_u128(0x0002_0000_0000_4000_8000_0000_0000_0000 | n)
}

async fn key(keys: &Arc<dyn Keys>, n: u128) -> [u8; 32] {
    keys.key(member(n)).await.expect("a member has a key").0
}

async fn existing(keys: &Arc<dyn Keys>, n: u128) -> Option<[u8; 32]> {
    keys.existing(member(n)).await.expect("keys can be read").map(|key| key.0)
}

async fn a_member_has_one_key_for_ever(harness: &dyn Harness<dyn Keys>) {
    let keys = harness.open().await;
    assert_eq!(existing(&keys, 1).await, None, "asking makes no key");
    let mut made = Vec::new();
    for n in 0..100 {
        made.push(key(&keys, n).await);
    }
    let distinct: BTreeSet<_> = made.iter().collect();
    assert_eq!(distinct.len(), 100, "no two members share a key");
    let weak = |key: &[u8; 32]| key.iter().collect::<BTreeSet<_>>().len() < 10;
    assert!(!made.iter().any(weak), "a key is not a pattern");
    let shares = |key: &[u8; 32], n| key.windows(8).any(|part| member(n).as_bytes().windows(8).any(|id| id == part));
    assert!(!made.iter().zip(0..).any(|(key, n)| shares(key, n)), "a key does not show its member");
    let sealed = keys.key(member(7)).await.expect("a member has a key").seal(member(8), 0, b"secret");
    let keys = harness.reopen(keys).await;
    for (n, made) in (0..).zip(&made) {
        assert_eq!(existing(&keys, n).await.as_ref(), Some(made), "a key survives a restart");
        assert_eq!(&key(&keys, n).await, made, "a key stays the same");
    }
    let key = keys.key(member(7)).await.expect("a member has a key");
    assert_eq!(key.open(&sealed).as_deref(), Ok(b"secret".as_slice()), "what was sealed before opens after");
}

async fn racing_first_uses_make_one_key(harness: &dyn Harness<dyn Keys>) {
    let keys = harness.open().await;
    for n in 0..10 {
        let mut race = JoinSet::new();
        for _ in 0..16 {
            let keys = Arc::clone(&keys);
            race.spawn(async move { key(&keys, n).await });
        }
        let made: BTreeSet<_> = race.join_all().await.into_iter().collect();
        assert_eq!(made.len(), 1, "all who ask at once get the same key");
        assert_eq!(existing(&keys, n).await.as_ref(), made.first());
    }
}

async fn forgetting_is_final(harness: &dyn Harness<dyn Keys>) {
    let keys = harness.open().await;
    let kept = key(&keys, 1).await;
    key(&keys, 2).await;
    keys.forget(member(2)).await.expect("a member can be forgotten");
    keys.forget(member(2)).await.expect("a member can be forgotten twice");
    keys.forget(member(3)).await.expect("a member without a key can be forgotten");
    let check = async |keys: &Arc<dyn Keys>| {
        for n in [2, 3] {
            assert_eq!(existing(keys, n).await, None, "a forgotten key is gone");
            assert!(keys.key(member(n)).await.is_err(), "a forgotten member gets no new key");
            assert_eq!(existing(keys, n).await, None, "nor by having asked");
        }
        assert_eq!(existing(keys, 1).await, Some(kept), "the others keep theirs");
    };
    check(&keys).await;
    let keys = harness.reopen(keys).await;
    check(&keys).await;
}

async fn keys_can_be_moved_elsewhere(harness: &dyn Harness<dyn Keys>) {
    let keys = harness.open().await;
    assert!(page(&keys, None, 10).await.is_empty());
    let mut made = Vec::new();
    for n in [7, 3, 5, 1] {
        made.push((member(n), Some(key(&keys, n).await)));
    }
    keys.forget(member(5)).await.expect("a member can be forgotten");
    made[2].1 = None;
    made.sort_unstable();
    assert_eq!(page(&keys, None, 10).await, made, "all of them, in the order of the members");
    assert_eq!(page(&keys, None, 2).await, made[..2]);
    assert_eq!(page(&keys, Some(member(2)), 2).await, made[1..3]);
    assert!(page(&keys, Some(member(7)), 2).await.is_empty());

    let there = harness.open().await;
    there.forget(member(9)).await.expect("a member can be forgotten");
    let own = key(&there, 11).await;
    for (member, key) in &made {
        if let Some(key) = key {
            there.adopt(*member, MemberKey(*key)).await.expect("a key can be adopted");
            there.adopt(*member, MemberKey(*key)).await.expect("and again");
        }
    }
    assert!(there.adopt(member(9), MemberKey([9; 32])).await.is_err(), "who was forgotten stays so");
    assert!(there.adopt(member(11), MemberKey([9; 32])).await.is_err(), "nobody's key is replaced");
    let there = harness.reopen(there).await;
    for (n, wanted) in [(1, made[0].1), (3, made[1].1), (7, made[3].1), (9, None), (11, Some(own))] {
        assert_eq!(existing(&there, n).await, wanted, "the key of member {n}");
    }
}

async fn page(keys: &Arc<dyn Keys>, after: Option<Uuid>, limit: usize) -> Vec<(Uuid, Option<[u8; 32]>)> {
    let page = keys.page(after, limit).await.expect("keys can be read");
    page.into_iter().map(|(member, key)| (member, key.map(|key| key.0))).collect()
}
