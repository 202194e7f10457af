//! What the writer remembers of streams: their number in the file and their length.

use std::num::NonZeroUsize;

use lru::LruCache;

/// A stream as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// `streams.id`.
    pub stream: i64,
    /// Its next revision.
    pub next: i64,
}

/// The most recently used streams. True because only one thread writes; it holds committed streams and those
/// of the transaction in hand, which are forgotten if that is rolled back.
pub struct Heads(LruCache<Box<str>, Head>);

impl Heads {
    /// Remembers at most `max` streams.
    pub fn new(max: usize) -> Self {
        // It grows as it fills: a small log does not pay for the bound.
        Self(LruCache::sparse(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN)))
    }

    /// The stream, if remembered.
    pub fn get(&mut self, name: &str) -> Option<Head> {
        self.0.get(name).copied()
    }

    /// Remembers the stream as `head`.
    pub fn put(&mut self, name: &str, head: Head) {
        match self.0.peek_mut(name) {
            Some(known) => *known = head,
            None => drop(self.0.put(name.into(), head)),
        }
    }

    /// Forgets the stream.
    pub fn forget(&mut self, name: &str) {
        self.0.pop(name);
    }
}
