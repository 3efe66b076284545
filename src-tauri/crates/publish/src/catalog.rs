//! A catalog on disk: the list of LivePCs that an operator collects.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use livepc_format::feed::{Catalog, CatalogEntry, read_catalog, write_catalog};
use livepc_format::limits::CATALOG_BYTES;
use url::Url;

use crate::error::{Context as _, PublishError, Result};
use crate::os;

/// Makes an empty catalog at `path`.
///
/// # Errors
/// [`PublishError::CatalogExists`] if there is a file already; it is not overwritten.
pub fn init(path: &Path, title: &str) -> Result<()> {
    let catalog = Catalog {
        title: title.to_owned(),
        entries: Vec::new(),
    };
    let partial = partial(path, &catalog)?;
    match partial.persist_noclobber(path) {
        Ok(_) => sync(path),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PublishError::CatalogExists(path.to_owned()))
        }
        Err(error) => Err(error.error).context(|| format!("writing {}", path.display())),
    }
}

/// The LivePCs in the catalog.
///
/// # Errors
/// [`PublishError::CatalogMissing`] if there is no file, or what is wrong with it.
pub fn list(path: &Path) -> Result<Catalog> {
    let what = || format!("reading {}", path.display());
    let len = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PublishError::CatalogMissing(path.to_owned()));
        }
        metadata => metadata.context(what)?.len(),
    };
    if len > CATALOG_BYTES {
        return Err(PublishError::TooLong {
            place: path.parent().unwrap_or(Path::new("")).display().to_string(),
            path: path.display().to_string(),
            limit: CATALOG_BYTES,
        });
    }
    let bytes = fs::read(path).context(what)?;
    Ok(read_catalog(&bytes, &address(path)?)?)
}

/// Adds a LivePC to the catalog, or replaces the entry that has the same feed. True if it is new.
///
/// # Errors
/// As [`list`], and if the file cannot be written.
pub fn add(path: &Path, entry: CatalogEntry) -> Result<bool> {
    let mut catalog = list(path)?;
    let place = catalog.entries.iter().position(|other| other.feed == entry.feed);
    match place {
        Some(place) => catalog.entries[place] = entry,
        None => catalog.entries.push(entry),
    }
    write(path, &catalog)?;
    Ok(place.is_none())
}

/// Takes the LivePC with this feed out of the catalog.
///
/// # Errors
/// [`PublishError::NotInCatalog`] if it has none, and those of [`add`].
pub fn remove(path: &Path, feed: &Url) -> Result<()> {
    let mut catalog = list(path)?;
    let before = catalog.entries.len();
    catalog.entries.retain(|entry| entry.feed != *feed);
    if catalog.entries.len() == before {
        return Err(PublishError::NotInCatalog(feed.to_string()));
    }
    write(path, &catalog)
}

/// The address of a file: what stands in the same folder is named relative to it, so that the folder can be served from
/// anywhere.
///
/// # Errors
/// If the path cannot be made absolute.
pub fn address(path: &Path) -> Result<Url> {
    let absolute =
        std::path::absolute(path).context(|| format!("finding out where {} lies", path.display()))?;
    Url::from_file_path(&absolute)
        .map_err(|()| io::Error::from(io::ErrorKind::InvalidInput))
        .context(|| format!("making an address of {}", path.display()))
}

fn write(path: &Path, catalog: &Catalog) -> Result<()> {
    partial(path, catalog)?
        .persist(path)
        .map_err(|error| error.error)
        .context(|| format!("writing {}", path.display()))?;
    sync(path)
}

/// Writes the catalog beside the place where it belongs.
fn partial(path: &Path, catalog: &Catalog) -> Result<tempfile::NamedTempFile> {
    let what = || format!("writing {}", path.display());
    let bytes = write_catalog(catalog, Some(&address(path)?));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".livepc-partial-");
    os::public_file(&mut builder);
    let mut partial = builder.tempfile_in(folder(path)).context(what)?;
    partial.write_all(&bytes).context(what)?;
    partial.as_file().sync_all().context(what)?;
    Ok(partial)
}

fn sync(path: &Path) -> Result<()> {
    os::sync_dir(folder(path)).context(|| format!("making {} durable", path.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(title: &str, feed: Url) -> CatalogEntry {
        CatalogEntry {
            title: title.into(),
            summary: "A machine".into(),
            description: String::new(),
            publisher: "Lab".into(),
            feed,
            thumbnail: None,
            categories: vec!["Networks".into()],
            guest_os: None,
            updated: None,
            boot_ready_bytes: Some(10),
            full_bytes: Some(20),
        }
    }

    #[test]
    fn livepcs_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.xml");
        let web = Url::parse("https://example.org/lab/feed.xml").unwrap();
        let beside = address(&dir.path().join("lab/feed.xml")).unwrap();
        assert!(matches!(list(&path), Err(PublishError::CatalogMissing(_))));
        init(&path, "Sample Library").unwrap();
        assert!(
            matches!(init(&path, "Other"), Err(PublishError::CatalogExists(_))),
            "a catalog is not overwritten"
        );
        assert!(add(&path, entry("Lab", web.clone())).unwrap());
        assert!(add(&path, entry("Beside", beside.clone())).unwrap());
        assert!(
            !add(&path, entry("Lab 2", web.clone())).unwrap(),
            "the same feed again replaces its entry"
        );
        let catalog = list(&path).unwrap();
        assert_eq!(catalog.title, "Sample Library");
        assert_eq!(
            catalog.entries,
            [entry("Lab 2", web.clone()), entry("Beside", beside.clone())]
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"lab/feed.xml\""),
            "what lies beside it is named relative:\n{text}"
        );
        remove(&path, &web).unwrap();
        assert!(matches!(remove(&path, &web), Err(PublishError::NotInCatalog(_))));
        assert_eq!(list(&path).unwrap().entries, [entry("Beside", beside)]);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no partial file is left"
        );
    }
}
