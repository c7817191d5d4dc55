//! Where a reported key finds its series: a sharded hash table of keys as given.
//!
//! A hit takes the shared side of one shard's lock for the length of one probe. Nothing but the arrival or the
//! expiry of a series takes the other side: a scrape walks the families and never comes here.

use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::RwLock;

use crate::key::{Key, StoredKey};

/// Enough that eight threads rarely meet on one lock word, few enough that an empty registry stays small.
const SHARDS: usize = 16;

struct Entry<T> {
    hash: u64,
    key: StoredKey,
    target: Arc<T>,
}

/// Keys as given -> shared targets (series).
pub struct Index<T> {
    shards: [Shard<T>; SHARDS],
}

// A cache line each, so that readers of one shard do not slow readers of its neighbour.
#[repr(align(64))]
struct Shard<T>(RwLock<HashTable<Entry<T>>>);

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Shard(RwLock::new(HashTable::new()))) }
    }
}

impl<T> Index<T> {
    // The table below uses the low bits for the slot and the top seven as tag, so the shard comes from the middle.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Entry<T>>> {
        &self.shards[(hash >> 40) as usize % SHARDS].0
    }

    /// Calls `found` with the target of `key`, if there is one; `hash` is [`Key::hash`].
    #[inline]
    pub fn with<R>(&self, hash: u64, key: &Key<'_>, found: impl FnOnce(&Arc<T>) -> R) -> Option<R> {
        let table = self.shard(hash).read();
        table.find(hash, |entry| entry.hash == hash && entry.key.matches(key)).map(|entry| found(&entry.target))
    }

    /// Makes `key` lead to `target`; an entry that another thread made first stays.
    pub fn insert(&self, hash: u64, key: &Key<'_>, target: Arc<T>) {
        let mut table = self.shard(hash).write();
        if table.find(hash, |entry| entry.hash == hash && entry.key.matches(key)).is_none() {
            table.insert_unique(hash, Entry { hash, key: key.to_stored(), target }, |entry| entry.hash);
        }
    }

    /// Forgets every entry whose target does not satisfy `keep`.
    pub fn retain(&self, keep: impl Fn(&T) -> bool) {
        for Shard(shard) in &self.shards {
            shard.write().retain(|entry| keep(&entry.target));
        }
    }

    /// Calls `each` with every target, one shard at a time; a target with several keys comes several times.
    pub fn for_each(&self, mut each: impl FnMut(&Arc<T>)) {
        for Shard(shard) in &self.shards {
            for entry in shard.read().iter() {
                each(&entry.target);
            }
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|Shard(shard)| shard.read().len()).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Kind, Scope};

    const SCOPE: Scope = Scope { view: 0, kind: Kind::Counter };

    #[test]
    fn a_key_finds_what_was_put_there_first() {
        let index = Index::default();
        let key = Key { scope: SCOPE, name: "x", labels: &[("a", "b")] };
        index.insert(key.hash(), &key, Arc::new(1));
        index.insert(key.hash(), &key, Arc::new(2));
        assert_eq!(index.with(key.hash(), &key, |target| **target), Some(1));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn retain_forgets_the_others() {
        let index = Index::default();
        for n in 0..1000_u32 {
            let name = n.to_string();
            let key = Key { scope: SCOPE, name: &name, labels: &[] };
            index.insert(key.hash(), &key, Arc::new(n));
        }
        index.retain(|n| n % 10 == 0);
        assert_eq!(index.len(), 100);
        let key = Key { scope: SCOPE, name: "11", labels: &[] };
        assert_eq!(index.with(key.hash(), &key, |_| ()), None);
    }
}
