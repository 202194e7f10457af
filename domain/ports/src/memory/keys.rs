//! Member keys in memory, derived from a seed.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use uuid::Uuid;

use super::lock;
use crate::keys::{Error, Keys, MemberKey};

/// Keys that follow from a seed and the member, so that a run can be replayed. A clone is the same key store.
#[derive(Debug, Clone)]
pub struct MemoryKeys {
    root: MemberKey,
    /// `None` for a member who was forgotten: they get no new key.
    members: Arc<Mutex<BTreeMap<Uuid, Option<MemberKey>>>>,
}

impl MemoryKeys {
    /// An empty key store whose keys follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut root = [0; 32];
        root[..8].copy_from_slice(&seed.to_be_bytes());
        Self { root: MemberKey(root), members: Arc::default() }
    }

    /// A copy with the same contents that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let members = lock(&self.members).clone();
        Self { root: self.root.clone(), members: Arc::new(Mutex::new(members)) }
    }

    /// Zeroes sealed under the root key with the member as the nonce: the cipher is the key derivation. What was
    /// sealed ends with 32 bytes of ciphertext and a tag of 16.
    fn derive(&self, member: Uuid) -> MemberKey {
        let sealed = self.root.seal(member, 0, &[0; 32]);
        let mut key = [0; 32];
        key.copy_from_slice(&sealed[sealed.len() - 48..][..32]);
        MemberKey(key)
    }
}

#[async_trait]
impl Keys for MemoryKeys {
    async fn key(&self, member: Uuid) -> Result<MemberKey, Error> {
        lock(&self.members)
            .entry(member)
            .or_insert_with(|| Some(self.derive(member)))
            .clone()
            .ok_or_else(|| Error::forgotten(member))
    }

    async fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error> {
        Ok(lock(&self.members).get(&member).cloned().flatten())
    }

    async fn forget(&self, member: Uuid) -> Result<(), Error> {
        lock(&self.members).insert(member, None);
        Ok(())
    }
    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = lock(&self.members);
        let page = members.range((from, Bound::Unbounded)).take(limit);
        Ok(page.map(|(member, key)| (*member, key.clone())).collect())
    }

    async fn adopt(&self, member: Uuid, key: MemberKey) -> Result<(), Error> {
        match lock(&self.members).entry(member).or_insert_with(|| Some(key.clone())) {
            Some(had) if *had == key => Ok(()),
            Some(_) => Err(Error::other_key(member)),
            None => Err(Error::forgotten(member)),
        }
    }
}
