//! Where a reported key finds its series: a sharded hash table of keys as given.
//!
//! A hit takes the shared side of one shard's lock for the length of one probe. Nothing but the arrival or the
//! expiry of a series takes the other side: a scrape walks the families and never comes here.

use std::sync::Arc;

use gds_process::sync::RwLock;
use hashbrown::HashTable;

use crate::key::{Key, StoredKey};

/// Enough that eight threads rarely meet on one lock word, few enough that an empty registry stays small.
const SHARDS: usize = 16;

/// A target that may know a key by itself, which then need not be kept beside it.
pub trait Spelling {
    /// Whether `key` is the target's own spelling.
    fn has_spelling(&self, key: &Key<'_>) -> bool;
    /// [`Key::hash`] of that spelling; only asked of targets that were inserted by it.
    fn hash(&self) -> u64;
    /// Whether nobody is led to it any more: another takes its place.
    fn is_removed(&self) -> bool {
        false
    }
}

/// Two words: there is one for every series.
enum Entry<T> {
    /// Known by its own spelling.
    Own(Arc<T>),
    /// Known by a key that is kept.
    Kept(Box<(StoredKey, Arc<T>)>),
}

impl<T: Spelling> Entry<T> {
    #[inline]
    fn is(&self, key: &Key<'_>) -> bool {
        match self {
            Self::Own(target) => target.has_spelling(key),
            Self::Kept(kept) => kept.0.matches(key),
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Self::Own(target) => target.hash(),
            Self::Kept(kept) => kept.0.hash(),
        }
    }

    #[inline]
    fn target(&self) -> &Arc<T> {
        match self {
            Self::Own(target) => target,
            Self::Kept(kept) => &kept.1,
        }
    }
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

impl<T: Spelling> Index<T> {
    // The table below uses the low bits for the slot and the top seven as tag, so the shard comes from the middle.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Entry<T>>> {
        &self.shards[(hash >> 40) as usize % SHARDS].0
    }

    /// Calls `found` with the target of `key`, if there is one; `hash` is [`Key::hash`].
    #[inline]
    pub fn with<R>(&self, hash: u64, key: &Key<'_>, found: impl FnOnce(&Arc<T>) -> R) -> Option<R> {
        let table = self.shard(hash).read();
        table.find(hash, |entry| entry.is(key)).map(|entry| found(entry.target()))
    }

    /// Makes `key` lead to `target`; an entry that another thread made first stays, unless its target was removed. With
    /// `own`, the key is the target's own spelling. Returns whether there is a new entry.
    pub fn insert(&self, hash: u64, key: &Key<'_>, target: Arc<T>, own: bool) -> bool {
        let mut table = self.shard(hash).write();
        let present = table.find_mut(hash, |entry| entry.is(key));
        if present.as_ref().is_some_and(|entry| !entry.target().is_removed()) {
            return false;
        }
        let entry = if own { Entry::Own(target) } else { Entry::Kept(Box::new((key.to_stored(), target))) };
        match present {
            Some(present) => *present = entry,
            None => _ = table.insert_unique(hash, entry, Entry::hash),
        }
        true
    }

    /// Forgets every entry whose target does not satisfy `keep`.
    pub fn retain(&self, keep: impl Fn(&T) -> bool) {
        for Shard(shard) in &self.shards {
            shard.write().retain(|entry| keep(entry.target()));
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
    use crate::key::{MetricKind, Scope};

    impl Spelling for u32 {
        fn has_spelling(&self, _: &Key<'_>) -> bool {
            false
        }

        fn hash(&self) -> u64 {
            0
        }
    }

    const SCOPE: Scope = Scope { view: 0, kind: MetricKind::Counter };

    #[test]
    fn a_key_finds_what_was_put_there_first() {
        let index: Index<u32> = Index::default();
        let key = Key { scope: SCOPE, name: "x", labels: &[("a", "b")] };
        index.insert(key.hash(), &key, Arc::new(1), false);
        index.insert(key.hash(), &key, Arc::new(2), false);
        assert_eq!(index.with(key.hash(), &key, |target| **target), Some(1));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn retain_forgets_the_others() {
        let index = Index::default();
        for n in 0..1000_u32 {
            let name = n.to_string();
            let key = Key { scope: SCOPE, name: &name, labels: &[] };
            index.insert(key.hash(), &key, Arc::new(n), false);
        }
        index.retain(|n| n % 10 == 0);
        assert_eq!(index.len(), 100);
        let key = Key { scope: SCOPE, name: "11", labels: &[] };
        assert_eq!(index.with(key.hash(), &key, |_| ()), None);
    }
}
