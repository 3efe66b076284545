//! Making a release.

use std::path::PathBuf;

use jiff::Timestamp;
use livepc_format::head::{FetchBytes, ReleaseState};
use livepc_format::index::ObjectRef;
use livepc_format::manifest::{self, Disk};
use livepc_format::{Digest, Head, Keys, LivePcId, Manifest, PublicKey, Release, limits, paths, text};
use url::Url;

use crate::authority::{PublishKeys, authority};
use crate::boot::name_boot_map;
use crate::content::{Content, Workshop};
use crate::destination::Destination;
use crate::error::{PublishError, Result};
use crate::feed_file;
use crate::layout::Layout;
use crate::logo;
use crate::next_head::{next_head, says_the_same};
use crate::opened::{Kept, Opened};
use crate::output::Output;
use crate::progress::Progress;
use crate::project::{Project, ProjectContent, ProjectDisk};
use crate::roles;
use crate::standing::Standing;

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
    /// Do everything but writing to the destination.
    pub dry_run: bool,
    /// Make a release even if nothing changed.
    pub force: bool,
    /// Go on, with a new release, where files of the destination are lost: after what was published with these keys before,
    /// so that subscribers accept it.
    pub start_over: bool,
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
            dry_run: false,
            force: false,
            start_over: false,
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
    /// When readers begin to say that the list of releases is old, unless it is published again before.
    pub expires: Option<Timestamp>,
    /// Where the feed says that it lies.
    pub address: Option<Url>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Bytes that subscribers will fetch.
    pub fetch: FetchBytes,
    /// The release with the same disks whose boot map the new one has, if there is one.
    pub boot_map_of: Option<u64>,
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
/// Packs go first, then the index, the manifest, the keys (if there is a new one), the head and the feed, so a reader never
/// sees a reference to what is not there. Until the head is replaced subscribers see the release before; a publication that
/// was interrupted is repeated, and finds what it has written already.
///
/// If the newest release of the project's channel has the same disks, machine, title and licence, no release is made, unless
/// `options` force it or give another label; the feed is brought up to date all the same, and so is the head: it is renewed
/// if the project says that it expires, if it names other mirrors, or if the signing key was replaced. See
/// [`crate::renew()`] for that alone.
///
/// # Errors
/// See [`PublishError`]. The head in `dest` stays what it was, except after [`PublishError::FeedStale`], and if the
/// destination failed at the very moment when it was replaced: to publish again is right in both cases.
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
    if options.changelog.len() > limits::CHANGELOG_BYTES {
        return Err(PublishError::Changelog(options.changelog.len()));
    }
    project.check()?;
    let sources = project.sources()?;
    let logo = project.logo.as_deref().map(logo::read).transpose()?;
    let lock = if options.dry_run { None } else { Some(dest.lock()?) };
    let signing = keys.signing.public_key()?;
    let own = Keys::new(keys.root_public.clone(), &project.name, signing, options.now).livepc();
    let mut opened = Opened::open_to_publish(dest, keys);
    if let Err(PublishError::Lost { path, .. }) = &opened
        && path == paths::KEYS
        && options.start_over
        && !options.dry_run
        && let Some(record) = keys.known(own)?
    {
        // The head beside them may still say what is there.
        dest.replace(paths::KEYS, record.keys()?.1, None)?;
        opened = Opened::open_to_publish(dest, keys);
    }
    let opened = opened?;
    let known = keys.known(opened.as_ref().map_or(own, |opened| opened.keys.livepc()))?;
    let started_over = known.clone().filter(|_| options.start_over);
    let authority = authority(
        opened.as_ref(),
        started_over.as_ref(),
        keys,
        &project.name,
        options.now,
        options.dry_run,
    )?;
    let standing = Standing::of(
        known,
        opened.as_ref(),
        &dest.place(),
        &project.name,
        options.start_over,
    )?;
    let staying = standing.staying(opened.as_ref())?;
    let kept = match &opened {
        Some(opened) => opened.with_manifests(&staying)?,
        None => Vec::new(),
    };
    if let Some(opened) = &opened {
        roles::check(project, opened)?;
    }
    let layout = Layout::new(sources)?;
    let output = Output::new(dest, options.dry_run);
    let content = Workshop {
        dest,
        opened: opened.as_ref(),
        kept: &kept,
        output: &output,
        level: options.level,
        scratch: options.scratch.clone().unwrap_or_else(std::env::temp_dir),
        progress,
    }
    .write(&layout)?;
    for disk in &layout.disks {
        disk.source.check_unchanged()?;
    }
    let publication = Publication {
        standing: &standing,
        staying: &staying,
        project,
        dest,
        keys: &authority.keys,
        options,
        opened: opened.as_ref(),
        kept: &kept,
        output: &output,
    };
    let new = publication.release(&layout, &content)?;
    let (path, bytes) = logo.unzip();
    if let (Some(path), Some(bytes)) = (&path, &bytes) {
        output.put(path, bytes)?;
    }
    if let Some((_, bytes)) = &new.manifest {
        output.put(&paths::manifest(&new.release.manifest), bytes)?;
    }
    let head = publication.head(&new);
    if !options.dry_run {
        authority.write(dest)?;
        publication.announce(&head, keys)?;
        publication
            .write_feed(&head, &new, path.as_deref())
            .map_err(|error| PublishError::FeedStale {
                sequence: new.release.sequence,
                error: Box::new(error),
            })?;
    }
    drop(lock);
    Ok(publication.published(&layout, &content, new, head.expires))
}

/// A publication whose packs and index are written.
struct Publication<'a> {
    standing: &'a Standing,
    /// The releases of the old list that stay in the new one.
    staying: &'a [&'a Release],
    project: &'a Project,
    dest: &'a dyn Destination,
    keys: &'a Keys,
    options: &'a PublishOptions,
    opened: Option<&'a Opened<'a>>,
    /// The kept releases, newest first.
    kept: &'a [Kept<'a>],
    output: &'a Output<'a>,
}

/// The release that subscribers get.
struct NewRelease {
    release: Release,
    /// Its manifest, and the bytes of that; `None` if the release was there before.
    manifest: Option<(Manifest, Vec<u8>)>,
    /// The release before that its boot map was made for, if it has one.
    boot_map_of: Option<u64>,
}

impl Publication<'_> {
    fn old_head(&self) -> Option<&Head> {
        self.opened.and_then(|opened| opened.head.as_ref())
    }

    /// Describes the release: a new one, or the newest one if that is the same.
    fn release(&self, layout: &Layout, content: &Content) -> Result<NewRelease> {
        let last = self.standing.newest(self.old_head());
        let sequence = last.map_or(1, |(sequence, _)| sequence + 1);
        let label = self.options.label.clone();
        let manifest = Manifest {
            version: 1,
            requires: Vec::new(),
            livepc: self.keys.livepc(),
            sequence,
            label: label.unwrap_or_else(|| sequence.to_string()),
            title: self.project.title.clone(),
            created: self.options.now,
            previous: last.map(|(_, manifest)| manifest),
            changelog: self.options.changelog.clone(),
            licence: self.project.licence.clone(),
            machine: self.project.machine.clone(),
            disks: self.disks(layout, content),
            packs: content.packs,
        };
        if let Some(same) = self.same_as(&manifest) {
            return Ok(NewRelease {
                release: same.clone(),
                manifest: None,
                boot_map_of: None,
            });
        }
        let (bytes, digest) = manifest.to_bytes()?;
        let mut release = Release {
            sequence,
            label: manifest.label.clone(),
            created: manifest.created,
            manifest: digest,
            manifest_bytes: bytes.len() as u64,
            channel: self.project.channel.clone(),
            state: ReleaseState::Current,
            gone_after: None,
            boot_map: None,
            bytes: content.costs.fetch.clone(),
            patches: Vec::new(),
        };
        let mut boot_map_of = None;
        if let Some((from, map)) = self.boot_map_for(&manifest)? {
            name_boot_map(&mut release, map, from.bytes.boot_ready);
            boot_map_of = Some(from.sequence);
        }
        Ok(NewRelease {
            release,
            manifest: Some((manifest, bytes)),
            boot_map_of,
        })
    }

    /// The boot map of the channel's newest release, if its disks are the same: it says where in them the pages lie that a
    /// start reads.
    fn boot_map_for(&self, new: &Manifest) -> Result<Option<(&Release, ObjectRef)>> {
        let newest = self
            .old_head()
            .and_then(|head| head.newest(&self.project.channel));
        let Some((newest, map)) = newest.and_then(|newest| Some((newest, newest.boot_map?))) else {
            return Ok(None);
        };
        let has_its_disks = self.kept.iter().any(|kept| {
            kept.release.sequence == newest.sequence
                && kept.manifest.disks == new.disks
                && kept.manifest.packs == new.packs
        });
        // Where files were lost it may be among them.
        let is_there = has_its_disks && self.dest.size(&paths::object(&map.digest))? == Some(map.stored);
        Ok(is_there.then_some((newest, map)))
    }

    fn disks(&self, layout: &Layout, content: &Content) -> Vec<Disk> {
        let mut published = layout
            .disks
            .iter()
            .zip(content.roots.iter().zip(&content.costs.disks));
        let disk = |disk: &ProjectDisk| {
            let (size, content) = match &disk.content {
                ProjectContent::Source(_) | ProjectContent::RawSource(_) => {
                    let (laid, (index, stored)) = published.next()?;
                    let content = manifest::Content::Published {
                        regions: laid.regions.clone(),
                        index: *index,
                        stored: *stored,
                    };
                    (laid.source.len(), content)
                }
                ProjectContent::User {
                    size,
                    label,
                    file_system,
                } => {
                    let content = manifest::Content::User {
                        label: label.clone(),
                        file_system: *file_system,
                    };
                    (*size, content)
                }
            };
            Some(Disk {
                role: disk.role.clone(),
                size,
                controller: disk.controller,
                content,
            })
        };
        self.project.disks.iter().filter_map(disk).collect()
    }

    /// The channel's newest release, if `new` says nothing else than it, and nobody wants a new one.
    fn same_as(&self, new: &Manifest) -> Option<&Release> {
        let newest = self.old_head()?.newest(&self.project.channel)?;
        let old = &self
            .kept
            .iter()
            .find(|kept| kept.release.sequence == newest.sequence)?
            .manifest;
        let relabelled = self
            .options
            .label
            .as_ref()
            .is_some_and(|label| *label != old.label);
        let same = old.title == new.title
            && old.licence == new.licence
            && old.machine == new.machine
            && old.disks == new.disks
            && old.packs == new.packs;
        let wanted = relabelled || self.options.force || self.options.start_over;
        (same && !wanted).then_some(newest)
    }

    /// The head that is valid after this: a new one, or the one that is there if nothing is to be added to it.
    fn head(&self, new: &NewRelease) -> Head {
        let old = self.old_head();
        let mut releases: Vec<Release> = self.staying.iter().map(|release| (*release).clone()).collect();
        if new.manifest.is_some() {
            releases.insert(0, new.release.clone());
        }
        let revision = self.standing.revision(old);
        let next = next_head(revision, self.keys, self.project, releases, self.options.now);
        match old {
            Some(old) if says_the_same(old, &next) => old.clone(),
            _ => next,
        }
    }

    /// Replaces the head, unless `head` is the one that is there.
    fn announce(&self, head: &Head, keys: &PublishKeys) -> Result<()> {
        let expected = self.opened.and_then(|opened| opened.head_digest);
        if let Some(there) = expected.filter(|_| self.old_head() == Some(head)) {
            // Another computer may have published it.
            keys.note(self.dest, head, there);
            return Ok(());
        }
        let bytes = head.seal(&keys.signing)?;
        self.dest.replace(paths::HEAD, &bytes, expected)?;
        keys.note(self.dest, head, Digest::of(&bytes));
        Ok(())
    }

    /// A publication that was stopped before this is made good here.
    fn write_feed(&self, head: &Head, new: &NewRelease, logo: Option<&str>) -> Result<()> {
        let added = new
            .manifest
            .as_ref()
            .map(|(manifest, _)| (&new.release, manifest));
        let kept = self.kept.iter().map(|kept| (kept.release, &kept.manifest));
        feed_file::write(self.dest, self.project, head, added.into_iter().chain(kept), logo)
    }

    fn published(
        &self,
        layout: &Layout,
        content: &Content,
        new: NewRelease,
        expires: Option<Timestamp>,
    ) -> Published {
        Published {
            livepc: self.keys.livepc(),
            name: self.project.name.clone(),
            root: self.keys.root.clone(),
            changed: new.manifest.is_some(),
            dry_run: self.options.dry_run,
            sequence: new.release.sequence,
            label: new.release.label,
            expires,
            address: self.project.address.clone(),
            manifest: new.release.manifest,
            fetch: new.release.bytes,
            boot_map_of: new.boot_map_of,
            disk_bytes: layout.bytes(),
            pages: content.pages_new + content.pages_known + content.pages_repeated,
            pages_new: content.pages_new,
            pages_known: content.pages_known,
            pages_repeated: content.pages_repeated,
            chunks: content.chunks,
            packs: content.packs_new,
            pack_bytes: content.pack_bytes,
            bytes_written: self.output.written(),
            bytes_present: self.output.present(),
        }
    }
}
