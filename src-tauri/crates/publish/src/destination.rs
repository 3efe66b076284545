//! Where a LivePC is published to.

mod folder;

pub use folder::Folder;

use std::path::Path;

use livepc_format::Digest;

use crate::error::{PublishError, Result};

/// A place that a web server serves: a folder, later a bucket or an SFTP server.
///
/// Paths are relative, with `/`; `livepc_format::paths` makes them. An implementation never leaves a file half written
/// under its name: what [`Destination::read`] gives was put there whole.
pub trait Destination: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// What tells it from other places: the same for each name that a person may give it, as far as that can be told.
    fn place(&self) -> String {
        self.name()
    }

    /// The bytes of a file of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`PublishError::TooLong`] if it has more.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;

    /// The bytes that a file has; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be told.
    fn size(&self, path: &str) -> Result<Option<u64>>;

    /// Makes a file that never changes. When it is there already with the same bytes, nothing is written.
    ///
    /// # Errors
    /// [`PublishError::Immutable`] if it is there with other bytes.
    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<Put>;

    /// Replaces a file that changes, if it has the digest `expected` (`None`: if there is none). Everything that was put
    /// before is durable before the new bytes can be seen.
    ///
    /// # Errors
    /// [`PublishError::Overtaken`] if somebody else changed it meanwhile.
    fn replace(&self, path: &str, bytes: &[u8], expected: Option<Digest>) -> Result<()>;

    /// Keeps other publishers away until the lock is dropped.
    ///
    /// # Errors
    /// [`PublishError::DestinationBusy`] if another publisher is at work.
    fn lock(&self) -> Result<Lock>;
}

/// What [`Destination::put_new`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The file is new.
    Written,
    /// It was there.
    Present,
}

/// Keeps other publishers away from a destination while it lives.
pub struct Lock(#[allow(dead_code, reason = "dropping it gives the lock back")] Box<dyn Send>);

impl Lock {
    /// A lock that is given back when `held` is dropped.
    pub fn new(held: impl Send + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// Opens the destination that a person named: a folder's path, or its `file://` URL. The folder need not exist yet.
///
/// # Errors
/// [`PublishError::DestinationKind`] for a URL of another kind, and for what scp takes for a place on another computer.
pub fn open_destination(place: &str) -> Result<Folder> {
    if !place.contains("://") && !place.starts_with("file:") {
        return if place.is_empty() || is_on_another_computer(place) {
            Err(PublishError::DestinationKind(place.to_owned()))
        } else {
            Ok(Folder::new(place))
        };
    }
    url::Url::parse(place)
        .ok()
        .filter(|url| url.scheme() == "file")
        .and_then(|url| url.to_file_path().ok())
        .map(Folder::new)
        .ok_or_else(|| PublishError::DestinationKind(place.to_owned()))
}

/// True for `host:path` and `user@host:path`, as scp reads it: a colon with no slash before it. One letter is a drive, and a
/// folder that is there is a folder.
fn is_on_another_computer(place: &str) -> bool {
    let host = place.split_once(':').map(|(host, _)| host);
    host.is_some_and(|host| host.len() > 1 && !host.contains(['/', '\\'])) && !Path::new(place).is_dir()
}

/// Reads a file that must be there because an earlier release names it.
pub(crate) fn read_named(dest: &dyn Destination, path: &str, limit: u64) -> Result<Vec<u8>> {
    dest.read(path, limit)?.ok_or_else(|| PublishError::Lost {
        place: dest.name(),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_of_this_computer() {
        for other in [
            "",
            "ada@example.org:/srv/www/lab",
            "example:lab",
            "https://example.org/",
            "ssh://a/b",
        ] {
            let refused = open_destination(other);
            assert!(
                matches!(refused, Err(PublishError::DestinationKind(_))),
                "{other}"
            );
        }
        for folder in ["lab", "./a:b", "/srv/a:b", "C:/lab", "file:///srv/lab"] {
            assert!(open_destination(folder).is_ok(), "{folder}");
        }
    }
}
