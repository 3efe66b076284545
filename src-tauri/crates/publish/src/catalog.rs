//! A catalog on disk: the list of LivePCs that an operator collects.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use livepc_durable::folder_of;
use livepc_format::feed::{Catalog, CatalogEntry, lost_by_writing, read_catalog, write_catalog};
use livepc_format::limits::{CATALOG_BYTES, CATALOG_ENTRIES};
use livepc_format::shown;
use livepc_format::text;
use url::Url;

use crate::error::{Context as _, PublishError, Result};
use crate::os;

/// The file whose lock keeps two changes of a catalog in the same folder apart. It stays, empty: taking it away would let
/// a third one in.
const LOCK: &str = ".livepc-catalog.lock";
/// Characters of a title at the most.
const TITLE: usize = 120;
/// How the names of files begin that are being written. Not as those of a publication: a publisher to the same folder
/// removes what is left of those.
const PARTIAL: &str = ".livepc-catalog-";

/// Makes an empty catalog at `path`.
///
/// # Errors
/// [`PublishError::CatalogExists`] if there is a file already; it is not overwritten. [`PublishError::Title`].
pub fn init(path: &Path, title: &str) -> Result<()> {
    if text::line(title, TITLE) != title || title.is_empty() {
        return Err(PublishError::Title(title.to_owned()));
    }
    let catalog = Catalog {
        title: title.to_owned(),
        entries: Vec::new(),
    };
    let partial = partial(path, &document(path, &catalog)?)?;
    match livepc_durable::put_new(partial, path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PublishError::CatalogExists(path.to_owned()))
        }
        Err(error) => Err(error).context(|| format!("writing {}", shown::path(path))),
    }
}

/// The LivePCs in the catalog.
///
/// # Errors
/// [`PublishError::CatalogMissing`] if there is no file, or what is wrong with it.
pub fn list(path: &Path) -> Result<Catalog> {
    read(path).map(|(catalog, _)| catalog)
}

/// The catalog, and its bytes.
fn read(path: &Path) -> Result<(Catalog, Vec<u8>)> {
    let what = || format!("reading {}", shown::path(path));
    let bytes = match livepc_durable::read(path, CATALOG_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PublishError::CatalogMissing(path.to_owned()));
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(PublishError::TooLong {
                place: path.parent().unwrap_or(Path::new("")).display().to_string(),
                path: path.display().to_string(),
                limit: CATALOG_BYTES,
            });
        }
        bytes => bytes.context(what)?,
    };
    Ok((read_catalog(&bytes, &address(path)?)?, bytes))
}

/// Reads the catalog, lets `change` change it, and writes it again. Others who want to change it wait that long.
fn update<T>(path: &Path, change: impl FnOnce(&mut Catalog) -> Result<T>) -> Result<T> {
    // Before the lock, which makes a file: not where there is no catalog.
    read(path)?;
    let what = || format!("locking the catalogs in {}", shown::path(folder_of(path)));
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder_of(path).join(LOCK))
        .context(what)?;
    lock.lock().context(what)?;
    let (mut catalog, bytes) = read(path)?;
    if let Some(what) = lost_by_writing(&bytes, &catalog, &address(path)?) {
        return Err(PublishError::CatalogForeign {
            path: path.to_owned(),
            what,
        });
    }
    let changed = change(&mut catalog)?;
    write(path, &catalog)?;
    drop(lock);
    Ok(changed)
}

/// Adds a LivePC to the catalog, or replaces the entry that has the same feed, or lies at one of the places `before`, which are
/// known to be of the same LivePC. True if it is new.
///
/// # Errors
/// As [`list`], [`PublishError::CatalogForeign`] if it has something that would be lost, [`PublishError::CatalogFull`], and if the
/// file cannot be written.
pub fn add(path: &Path, entry: CatalogEntry, before: &[Url]) -> Result<bool> {
    update(path, |catalog| {
        let is_same = |other: &CatalogEntry| other.feed == entry.feed || before.contains(&other.feed);
        let place = catalog.entries.iter().position(is_same);
        catalog.entries.retain(|other| !is_same(other));
        catalog
            .entries
            .insert(place.unwrap_or(catalog.entries.len()), entry);
        Ok(place.is_none())
    })
}

/// Takes the LivePC with this feed out of the catalog.
///
/// # Errors
/// [`PublishError::NotInCatalog`] if it has none, and those of [`add`].
pub fn remove(path: &Path, feed: &Url) -> Result<()> {
    update(path, |catalog| {
        let before = catalog.entries.len();
        catalog.entries.retain(|entry| entry.feed != *feed);
        if catalog.entries.len() == before {
            return Err(PublishError::NotInCatalog(feed.to_string()));
        }
        Ok(())
    })
}

/// The address of a file: what stands in the same folder is named relative to it, so that the folder can be served from
/// anywhere.
///
/// # Errors
/// If the path cannot be made absolute.
pub fn address(path: &Path) -> Result<Url> {
    let absolute =
        std::path::absolute(path).context(|| format!("finding out where {} lies", shown::path(path)))?;
    Url::from_file_path(&absolute)
        .map_err(|()| io::Error::from(io::ErrorKind::InvalidInput))
        .context(|| format!("making an address of {}", shown::path(path)))
}

/// Puts the catalog where the one before is. A link stays, and what it leads to is replaced; who may read that may do so
/// afterwards, too.
fn write(path: &Path, catalog: &Catalog) -> Result<()> {
    let what = || format!("writing {}", shown::path(path));
    let place = std::fs::canonicalize(path).context(what)?;
    let partial = partial(&place, &document(path, catalog)?)?;
    os::read_as(partial.as_file(), &place).context(what)?;
    livepc_durable::put(partial, &place).map(drop).context(what)
}

/// The catalog's bytes, which readers take.
fn document(path: &Path, catalog: &Catalog) -> Result<Vec<u8>> {
    let full = |why: String| PublishError::CatalogFull {
        path: path.to_owned(),
        why,
    };
    if catalog.entries.len() > CATALOG_ENTRIES {
        return Err(full(format!("{CATALOG_ENTRIES} LivePCs are the most")));
    }
    let base = address(path)?;
    let bytes = write_catalog(catalog, Some(&base));
    read_catalog(&bytes, &base).map_err(|error| full(error.to_string()))?;
    Ok(bytes)
}

/// Writes these bytes beside the place where they belong.
fn partial(place: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
    let what = || format!("writing {}", shown::path(place));
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    os::public_file(&mut builder);
    let mut partial = builder.tempfile_in(folder_of(place)).context(what)?;
    partial.write_all(bytes).context(what)?;
    Ok(partial)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        for unseen in ["", " ", "\u{200b}", "Lab\u{200b}"] {
            assert!(
                matches!(init(&path, unseen), Err(PublishError::Title(_))),
                "{unseen:?}"
            );
        }
        init(&path, "Sample Library").unwrap();
        assert!(
            matches!(init(&path, "Other"), Err(PublishError::CatalogExists(_))),
            "a catalog is not overwritten"
        );
        assert!(add(&path, entry("Lab", web.clone()), &[]).unwrap());
        assert!(add(&path, entry("Beside", beside.clone()), &[]).unwrap());
        assert!(
            !add(&path, entry("Lab 2", web.clone()), &[]).unwrap(),
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
            names(dir.path()),
            [LOCK, "catalog.xml"],
            "no partial file is left"
        );
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn changes_at_the_same_time_all_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.xml");
        init(&path, "Sample Library").unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let feed = Url::parse(&format!("https://example.org/{number}/feed.xml")).unwrap();
                let path = &path;
                scope.spawn(move || add(path, entry("Lab", feed), &[]).unwrap());
            }
        });
        assert_eq!(list(&path).unwrap().entries.len(), 8);
    }

    #[test]
    fn what_others_have_written_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.xml");
        let feed = Url::parse("https://example.org/lab/feed.xml").unwrap();
        init(&path, "Sample Library").unwrap();
        add(&path, entry("Lab", feed.clone()), &[]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let behind = |more: &str| text.replace("</feed>", &format!("{more}</feed>"));
        for (changed, lost) in [
            (behind("<entry><title>News</title></entry>"), "<entry>"),
            (behind("<!-- mine -->"), "“mine”"),
            (behind("<rights>CC0</rights>"), "<rights>"),
            (behind("<my:x xmlns:my=\"urn:my\" a=\"1\"/>"), "<my:x>"),
            (
                text.replace("<feed ", "<feed xml:lang=\"de\" "),
                "xml:lang=\"de\" of <feed>",
            ),
            (
                text.replace("<feed ", "<?xml-stylesheet href=\"a.xsl\"?><feed "),
                "<?xml-stylesheet",
            ),
            (text.replacen("<id>", "<id>urn:x", 1), "<id>"),
        ] {
            assert_ne!(changed, text, "{lost}");
            fs::write(&path, &changed).unwrap();
            assert_eq!(list(&path).unwrap().entries.len(), 1, "it can be read: {lost}");
            for refused in [
                add(&path, entry("Lab 2", feed.clone()), &[]).map(|_| ()),
                remove(&path, &feed),
            ] {
                match refused {
                    Err(PublishError::CatalogForeign { what, .. }) => {
                        assert!(what.contains(lost), "{what}, not {lost}");
                    }
                    other => panic!("{lost}: {other:?}"),
                }
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), changed, "not a byte changed");
        }
        // Spaces between elements say nothing.
        fs::write(&path, text.replace("><", ">\n  <")).unwrap();
        add(&path, entry("Lab 2", feed), &[]).unwrap();
    }

    #[test]
    fn what_nobody_could_read_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.xml");
        let feed = |number: usize| Url::parse(&format!("https://example.org/{number}/feed.xml")).unwrap();
        let full = Catalog {
            title: "Sample Library".into(),
            entries: (0..=CATALOG_ENTRIES)
                .map(|number| entry("Lab", feed(number)))
                .collect(),
        };
        init(&path, "Sample Library").unwrap();
        let before = fs::read(&path).unwrap();
        let refused = write(&path, &full);
        assert!(
            matches!(refused, Err(PublishError::CatalogFull { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_so_do_those_who_may_read() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("catalog.xml"), dir.path().join("served/real.xml"));
        fs::create_dir(dir.path().join("served")).unwrap();
        init(&real, "Sample Library").unwrap();
        symlink("served/real.xml", &path).unwrap();
        for mode in [0o640, 0o664, 0o600] {
            fs::set_permissions(&real, fs::Permissions::from_mode(mode)).unwrap();
            let feed = Url::parse(&format!("https://example.org/{mode}/feed.xml")).unwrap();
            add(&path, entry("Lab", feed), &[]).unwrap();
            assert!(path.is_symlink());
            assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(
            list(&real).unwrap().entries.len(),
            3,
            "what is served is what was changed"
        );
        assert_eq!(names(dir.path()), [LOCK, "catalog.xml", "served"]);
    }

    #[test]
    fn where_there_is_no_catalog_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let feed = Url::parse("https://example.org/lab/feed.xml").unwrap();
        let missing = add(&dir.path().join("catalog.xml"), entry("Lab", feed), &[]);
        assert!(matches!(missing, Err(PublishError::CatalogMissing(_))));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn one_that_has_moved_takes_its_own_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.xml");
        let at = |host: &str| Url::parse(&format!("https://{host}.example/feed.xml")).unwrap();
        init(&path, "Sample Library").unwrap();
        for host in ["a", "b", "c"] {
            assert!(add(&path, entry(host, at(host)), &[]).unwrap());
        }
        assert!(!add(&path, entry("b", at("new")), &[at("b"), at("c")]).unwrap());
        let feeds: Vec<_> = list(&path)
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.feed)
            .collect();
        assert_eq!(feeds, [at("a"), at("new")]);
    }
}
