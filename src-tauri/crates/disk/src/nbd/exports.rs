//! The devices a server offers, by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::wire;
use crate::block::BlockDevice;

/// Whether a client that asks for the list of exports is told of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// In the list.
    Listed,
    /// Not in the list: who knows the name may connect. An unguessable name is then what protects a loopback port.
    Hidden,
}

/// The devices a server offers, by name. The empty name is the default: what a client gets that names none.
#[derive(Default, Clone)]
pub struct Exports {
    by_name: BTreeMap<String, Export>,
}

#[derive(Clone)]
struct Export {
    device: Arc<dyn BlockDevice>,
    visibility: Visibility,
}

impl Exports {
    /// No exports yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One listed export under the empty name.
    #[must_use]
    pub fn single(device: Arc<dyn BlockDevice>) -> Self {
        let export = Export {
            device,
            visibility: Visibility::Listed,
        };
        Self {
            by_name: BTreeMap::from([(String::new(), export)]),
        }
    }

    /// Adds a device under `name`.
    ///
    /// # Errors
    /// If the name is longer than the protocol allows (4096 bytes) or already in use.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        device: Arc<dyn BlockDevice>,
        visibility: Visibility,
    ) -> Result<(), ExportError> {
        let name = name.into();
        if name.len() > wire::MAX_NAME {
            return Err(ExportError::NameTooLong { len: name.len() });
        }
        if self.by_name.contains_key(&name) {
            return Err(ExportError::NameTaken { name });
        }
        self.by_name.insert(name, Export { device, visibility });
        Ok(())
    }

    /// The device called `name`.
    pub(super) fn device(&self, name: &str) -> Option<&Arc<dyn BlockDevice>> {
        self.by_name.get(name).map(|export| &export.device)
    }

    /// The names that clients may be told.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        let listed = self
            .by_name
            .iter()
            .filter(|(_, export)| export.visibility == Visibility::Listed);
        listed.map(|(name, _)| name.as_str())
    }
}

impl fmt::Debug for Exports {
    /// Without the hidden names: they are secrets, and logs are shared.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.by_name.len() - self.listed().count();
        f.debug_struct("Exports")
            .field("listed", &self.listed().collect::<Vec<_>>())
            .field("hidden", &hidden)
            .finish()
    }
}

/// Why a device could not be added to [`Exports`].
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The name is longer than the protocol allows.
    #[error("the export name has {len} bytes, and NBD allows {max}; choose a shorter name", max = wire::MAX_NAME)]
    NameTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Another device has that name.
    #[error("an export called {name:?} exists already; choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
}
