//! Where the store is, if it was moved out of the home, and while it moves.
//!
//! The place is told by a file in the home that is only ever replaced as a whole. While the store moves it names both
//! places: the new one counts as soon as the store is whole there, which its version file says, since that is written last.
//! So whenever a move ends, there is one store, and everybody knows where.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use livepc_durable::Readers;
use serde::{Deserialize, Serialize};

use crate::{Code, Home, Problem};

/// The file of a store that is written last.
const WHOLE: &str = "store.json";
/// The file is longer than this only if it is something else.
const MOST: u64 = 64 << 10;

/// What the file in the home says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorePlace {
    /// The store's folder.
    pub store: PathBuf,
    /// Where it was, from the moment at which it begins to move until nothing is left there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_from: Option<PathBuf>,
}

impl StorePlace {
    /// The name of the file in the home.
    pub const FILE: &str = "store-place.json";

    /// Where the store is now.
    #[must_use]
    pub fn now(&self) -> &Path {
        match &self.moving_from {
            Some(from) if !Self::is_whole(&self.store) => from,
            _ => &self.store,
        }
    }

    /// True if there is a store in a folder, and not a part of one.
    #[must_use]
    pub fn is_whole(folder: &Path) -> bool {
        folder.join(WHOLE).is_file()
    }
}

impl Home {
    /// The chunk store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        match self.store_place() {
            Ok(Some(place)) => place.now().to_owned(),
            // Who opens the store to write says that the file is damaged.
            Ok(None) | Err(_) => self.own_store(),
        }
    }

    /// Where the store is as long as nobody has moved it.
    #[must_use]
    pub fn own_store(&self) -> PathBuf {
        self.root().join("store")
    }

    /// Where the store was moved to, or is moving; `None` if it is where it was made.
    ///
    /// # Errors
    /// What the system says, and that the file is damaged.
    pub fn store_place(&self) -> Result<Option<StorePlace>, Problem> {
        let path = self.store_place_file();
        let failed =
            |error: std::io::Error| Problem::io(&format!("{} cannot be read", path.display()), &error);
        let file = match livepc_durable::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Problem::new(
                Code::Failed,
                format!(
                    "{}, which says where the store is, is damaged: {error}.",
                    path.display()
                ),
                "Remove it, and “livepc store move” to the folder that has the store; without it a new store is made.",
            )
        })
    }

    /// Says durably where the store is: all of it, or nothing changes.
    ///
    /// # Errors
    /// What the system says, and that a path cannot be written down.
    pub fn set_store_place(&self, place: &StorePlace) -> Result<(), Problem> {
        let path = self.store_place_file();
        let failed =
            |error: std::io::Error| Problem::io(&format!("{} cannot be written", path.display()), &error);
        if place.moving_from.is_none() && place.store == self.own_store() {
            return livepc_durable::remove(&path).map_err(failed);
        }
        let text = serde_json::to_string_pretty(place).map_err(|_| {
            Problem::new(
                Code::Usage,
                format!("The name {} cannot be written down.", place.store.display()),
                "Choose a folder whose name is UTF-8.",
            )
        })?;
        livepc_durable::write(&path, Readers::User, text.as_bytes()).map_err(failed)
    }

    fn store_place_file(&self) -> PathBuf {
        self.root().join(StorePlace::FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_place_counts_as_soon_as_the_store_is_whole_there() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let (old, new) = (home.own_store(), home.root().join("elsewhere"));
        assert_eq!(home.store(), old);
        let place = StorePlace {
            store: new.clone(),
            moving_from: Some(old.clone()),
        };
        home.set_store_place(&place).unwrap();
        std::fs::create_dir_all(new.join("packs")).unwrap();
        assert_eq!(home.store(), old, "it is not whole yet");
        std::fs::write(new.join(WHOLE), "{}").unwrap();
        assert_eq!(home.store(), new);
        let place = StorePlace {
            store: new.clone(),
            moving_from: None,
        };
        home.set_store_place(&place).unwrap();
        std::fs::remove_dir_all(&new).unwrap();
        assert_eq!(
            home.store(),
            new,
            "a drive that is away is no reason to begin anew"
        );
        let place = StorePlace {
            store: old.clone(),
            moving_from: None,
        };
        home.set_store_place(&place).unwrap();
        assert_eq!((home.store(), home.store_place().unwrap()), (old, None));
    }

    #[test]
    fn a_damaged_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        std::fs::write(home.root().join("store-place.json"), "{\"store\":").unwrap();
        assert!(home.store_place().is_err());
    }
}
