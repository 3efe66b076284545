//! A lock for each key that somebody uses, and what belongs to that key. Its interleavings are tried out by
//! `tests/store/interleavings.rs`.

use std::collections::HashMap;
use std::hash::Hash;

use crate::sync::{Arc, Mutex, PoisonError};

/// There is never a second lock for a key that somebody has one of.
pub(crate) struct Slots<K, V> {
    most: usize,
    slots: Mutex<HashMap<K, Arc<Mutex<V>>>>,
}

impl<K: Eq + Hash, V: Default> Slots<K, V> {
    /// Keys that nobody uses are forgotten once there are `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            slots: Mutex::new(HashMap::new()),
        }
    }

    /// The lock of a key.
    pub(crate) fn of(&self, key: K) -> Arc<Mutex<V>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.most && !slots.contains_key(&key) {
            // Whoever has one got it under the lock that is held here, so the count cannot rise meanwhile.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let slot = slots.entry(key);
        Arc::clone(slot.or_insert_with(|| Arc::new(Mutex::new(V::default()))))
    }

    /// Forgets all keys. Nobody may use one.
    pub(crate) fn clear(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.clear();
    }
}
