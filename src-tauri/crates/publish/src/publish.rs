//! Making a release.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use livepc_format::head::{FetchBytes, ReleaseState};
use livepc_format::index::{ObjectRef, PackList};
use livepc_format::manifest::{Content, Disk};
use livepc_format::{Digest, Head, LivePcId, Manifest, PublicKey, Release, limits, paths, text};

use crate::authority::{Authority, PublishKeys, authority};
use crate::cost::{Cost, Costs, User};
use crate::destination::Destination;
use crate::error::{PublishError, Result};
use crate::extents::write_index;
use crate::feed_file::feed;
use crate::known::{Packs, known};
use crate::layout::Layout;
use crate::logo;
use crate::opened::{Kept, Opened};
use crate::output::Output;
use crate::pack::{Packed, pack};
use crate::progress::Progress;
use crate::project::{Project, ProjectContent};
use crate::resolve::{Resolved, resolve};
use crate::scan::scan;
use crate::source::Source;

/// zstd's level for chunks: each one is compressed once and fetched often.
pub const LEVEL: i32 = 9;

/// What a person may want of a publication.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The time that the release gets.
    pub now: Timestamp,
    /// What people call the release: one line of at most 64 characters. Its sequence if `None`.
    pub label: Option<String>,
    /// What changed, as plain text of at most 64 KiB.
    pub changelog: String,
    /// When readers begin to say that the head is old.
    pub expires: Option<Timestamp>,
    /// Do everything but writing to the destination.
    pub dry_run: bool,
    /// Make a release even if nothing changed.
    pub force: bool,
    /// zstd's level for chunks. Other levels give other chunks, so that pages are shared less between LivePCs.
    pub level: i32,
    /// The folder for temporary files: up to 150 bytes a page that is not zero (4 % of the data), less for small disks.
    /// The system's one if `None`.
    pub scratch: Option<PathBuf>,
}

impl PublishOptions {
    /// The usual: a release made `now`, called by its sequence.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            label: None,
            changelog: String::new(),
            expires: None,
            dry_run: false,
            force: false,
            level: LEVEL,
            scratch: None,
        }
    }
}

/// What a publication did, or would do.
#[derive(Clone, Debug)]
pub struct Published {
    /// The LivePC.
    pub livepc: LivePcId,
    /// Its short name.
    pub name: String,
    /// Its root key.
    pub root: PublicKey,
    /// True if there is a new release; false if the newest one has the same content already, and is the one described
    /// here.
    pub changed: bool,
    /// True if nothing was written.
    pub dry_run: bool,
    /// The release.
    pub sequence: u64,
    /// What people call it.
    pub label: String,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Bytes that subscribers will fetch.
    pub fetch: FetchBytes,
    /// Bytes of its disks.
    pub disk_bytes: u64,
    /// Pages of its disks that are not zero.
    pub pages: u64,
    /// Of these, pages that no kept release has.
    pub pages_new: u64,
    /// Of these, pages that a kept release has.
    pub pages_known: u64,
    /// Of these, pages that are equal to a new one before them.
    pub pages_repeated: u64,
    /// New chunks.
    pub chunks: u64,
    /// New packs.
    pub packs: u64,
    /// Bytes of the new packs.
    pub pack_bytes: u64,
    /// Bytes of all files that were written.
    pub bytes_written: u64,
    /// Bytes of files that were to be written and were there already.
    pub bytes_present: u64,
}

/// Makes a release of what `project` names, and puts it into `dest`.
///
/// Packs go first, then the index, the manifest, the keys (the first time), the head and the feed, so a reader never sees
/// a reference to what is not there. Until the head is replaced subscribers see the release before; a publication that
/// was interrupted is repeated, and finds what it has written already.
///
/// If the newest release of the project's channel has the same disks, machine, title and licence, no release is made, unless
/// `options` force it or give another label; the feed is brought up to date all the same.
///
/// # Errors
/// See [`PublishError`]. The head in `dest` stays what it was.
pub fn publish(
    project: &Project,
    dest: &dyn Destination,
    keys: &PublishKeys,
    options: &PublishOptions,
    progress: &dyn Progress,
) -> Result<Published> {
    if let Some(label) = &options.label
        && (label.is_empty() || text::line(label, 64) != *label)
    {
        return Err(PublishError::Label(label.clone()));
    }
    let sources = sources(project)?;
    let logo = project.logo.as_deref().map(logo::read).transpose()?;
    let lock = if options.dry_run {
        None
    } else {
        Some(dest.lock()?)
    };
    let opened = Opened::open(dest)?;
    let authority = authority(
        opened.as_ref(),
        keys,
        &project.name,
        options.now,
        options.dry_run,
    )?;
    let kept = match &opened {
        Some(opened) => opened.kept_manifests()?,
        None => Vec::new(),
    };
    let layout = Layout::new(sources)?;
    let publication = Publication {
        project,
        dest,
        options,
        opened: opened.as_ref(),
        kept: &kept,
        authority: &authority,
        output: Output::new(dest, options.dry_run),
    };
    let written = publication.write_content(&layout, progress)?;
    for disk in &layout.disks {
        disk.source.check_unchanged()?;
    }
    let release = publication.release(&layout, &written)?;
    if let Some((path, bytes)) = &logo {
        publication.output.put(path, bytes)?;
    }
    if !options.dry_run {
        let logo = logo.as_ref().map(|(path, _)| path.as_str());
        publication.announce(&release, keys, logo)?;
    }
    drop(lock);
    Ok(publication.published(&layout, &written, &release))
}

fn sources(project: &Project) -> Result<Vec<Source>> {
    let paths = project.disks.iter().filter_map(|disk| match &disk.content {
        ProjectContent::Source(path) => Some(path),
        ProjectContent::User { .. } => None,
    });
    paths.map(|path| Source::open(path)).collect()
}

struct Publication<'a> {
    project: &'a Project,
    dest: &'a dyn Destination,
    options: &'a PublishOptions,
    opened: Option<&'a Opened<'a>>,
    /// The kept releases, newest first.
    kept: &'a [Kept<'a>],
    authority: &'a Authority,
    output: Output<'a>,
}

/// The packs and the index of a release.
struct Content2 {
    roots: Vec<ObjectRef>,
    packs: ObjectRef,
    costs: Costs,
    found: u64,
    resolved: Resolved,
    packed: Packed,
}

/// The release that the head will list.
struct NewRelease {
    changed: bool,
    release: Release,
    manifest: Manifest,
}
