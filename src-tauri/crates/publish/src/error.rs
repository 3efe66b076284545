//! What can stop a publication.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use livepc_format::FormatError;
use livepc_format::shown;

use crate::kind::FileKind;

/// The result of publishing.
pub type Result<T, E = PublishError> = std::result::Result<T, E>;

/// Why nothing was published: the release that the destination's head named before is untouched and valid. Only
/// [`PublishError::FeedStale`] comes after the release was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no disk image at the path.
    #[error("there is no disk image at {}; check the path", shown::path(.0))]
    SourceMissing(PathBuf),
    /// The path leads to a folder.
    #[error("{} is a folder, not a disk image; name the raw image file itself", shown::path(.0))]
    SourceIsDirectory(PathBuf),
    /// The path leads to a pipe, a socket or the like.
    #[error("{} is neither a file nor a disk; name the raw image file itself", shown::path(.0))]
    SourceKind(PathBuf),
    /// The disk image has no bytes.
    #[error("{} is empty; a disk has at least one sector of 512 bytes", shown::path(.0))]
    SourceEmpty(PathBuf),
    /// The file is something that a disk would have to be made of first.
    #[error(
        "{}. (If these very bytes are the disk: `livepc project init … --as raw`, or `as = \"raw\"` in its [[disks]] \
         section.)",
        .kind.refusal(.path)
    )]
    SourceFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The disk image does not consist of whole sectors.
    #[error(
        "{} has {len} bytes, which is not a multiple of 512; it is cut off, or not a raw disk image: copy it again",
        shown::path(.path)
    )]
    SourceLength {
        /// The image.
        path: PathBuf,
        /// Its bytes.
        len: u64,
    },
    /// The disk image is larger than a disk may be.
    #[error("{} has {len} bytes; a disk has at most 16 TiB", shown::path(.path))]
    SourceTooLarge {
        /// The image.
        path: PathBuf,
        /// Its bytes.
        len: u64,
    },
    /// Somebody wrote to the disk image while it was read.
    #[error(
        "{} changed while it was read; shut the machine that uses it down, then publish again",
        shown::path(.0)
    )]
    SourceChanged(PathBuf),

    /// There is no project in the folder.
    #[error("there is no {} here; make one with `livepc project init`", shown::path(.0))]
    ProjectMissing(PathBuf),
    /// There is a project in the folder already.
    #[error("{} exists already and is not overwritten; edit it, or choose another folder", shown::path(.0))]
    ProjectExists(PathBuf),
    /// The project file cannot be used.
    #[error("{} cannot be used{}: {why}", shown::path(.path), line_text(.line))]
    Project {
        /// The project file.
        path: PathBuf,
        /// The line, counted from 1, if one is to blame.
        line: Option<usize>,
        /// What is wrong and what would be right.
        why: String,
    },
    /// No short name can be made of what a person calls the LivePC.
    #[error("no short name can be made of {0:?}; give a name with at least one of the letters a–z or digits")]
    Name(String),

    /// A disk was the subscriber's own and would be published, or the other way.
    #[error(
        "the disk “{role}” is {} in release {release}, and would be {} from now on: what subscribers have of the one would be \
         taken for the other; give the new disk another role",
        kind_text(*.was_own), kind_text(!*.was_own)
    )]
    DiskRole {
        /// The disk's role.
        role: String,
        /// The sequence of the release.
        release: u64,
        /// True if it is the subscriber's own there.
        was_own: bool,
    },
    /// The label of the release cannot be used.
    #[error("the label {0:?} cannot be used; write one line of 1 to 64 characters that can be seen")]
    Label(String),
    /// The title of a catalog cannot be used.
    #[error("the title {0:?} cannot be used; write one line of 1 to 120 characters that can be seen")]
    Title(String),
    /// The changelog is too long.
    #[error(
        "the changelog has {0} bytes, more than the 65,536 allowed; shorten it, and link what tells the rest"
    )]
    Changelog(usize),
    /// The logo cannot be used.
    #[error("the logo {} cannot be used: {why}; it must be PNG, JPEG or WebP of at most 1 MiB", shown::path(.path))]
    Logo {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },

    /// The destination is of a kind that is not known.
    #[error(
        "{0:?} is not a place to publish to; name a folder, or a file:// URL of one, and copy that to the web \
             server"
    )]
    DestinationKind(String),
    /// Another publisher is at work in the destination.
    #[error("another publication to {0} is under way; wait until it has ended, then publish again")]
    DestinationBusy(String),
    /// A file that never changes would change.
    #[error(
        "{path} in {place} has other bytes than are to be published; files there never change: restore the folder from \
         its server or a copy, or publish to an empty one"
    )]
    Immutable {
        /// The destination.
        place: String,
        /// The file, relative to it.
        path: String,
    },
    /// A file that only this publisher may change was changed by somebody else.
    #[error("{path} in {place} was changed by somebody else meanwhile; publish again")]
    Overtaken {
        /// The destination.
        place: String,
        /// The file, relative to it.
        path: String,
    },
    /// A file of an earlier release is not in the destination, or not all of it.
    #[error(
        "{path} of an earlier release is missing in {place}, or not whole; restore it from its server or a copy"
    )]
    Lost {
        /// The destination.
        place: String,
        /// The file, relative to it.
        path: String,
    },
    /// A file in the destination is longer than it may be.
    #[error("{path} in {place} is longer than {limit} bytes; restore it from its server or a copy")]
    TooLong {
        /// The destination.
        place: String,
        /// The file, relative to it.
        path: String,
        /// Bytes that such a file may have.
        limit: u64,
    },
    /// The head names the release, so subscribers get it, but the feed does not tell it.
    #[error(
        "release {sequence} is published, but {} was not brought up to date ({error}); publish again, or with --renew: that \
         makes no new release",
        livepc_format::paths::FEED
    )]
    FeedStale {
        /// The release.
        sequence: u64,
        /// Why the feed could not be written.
        error: Box<PublishError>,
    },
    /// The feed cannot lie where the project says.
    #[error("the feed's address cannot be used; {0}")]
    Address(&'static str),
    /// Nothing was published in the destination yet.
    #[error("there is no LivePC in {0}; check the path, or publish a first release there")]
    NothingPublished(String),
    /// There is no release with this number.
    #[error("{place} has no release {sequence}; see its head for those that it has")]
    NoRelease {
        /// The destination.
        place: String,
        /// The number asked for.
        sequence: u64,
    },

    /// There is nothing in the destination, and subscribers have releases of the LivePC.
    #[error(
        "there is nothing in {place} to go on from, and “{name}” was published before (to {there}, on {}): its subscribers \
         would refuse a list of releases that begins anew; put the folder back from its web server or a copy (head.json, \
         keys.json, manifests, index and packs), then publish again. If it is lost, `--start-over` goes on with release \
         {next}, which subscribers accept: they fetch all of it",
        day(.last)
    )]
    BeginsAnew {
        /// The destination.
        place: String,
        /// The LivePC's short name.
        name: String,
        /// When it was published last.
        last: Timestamp,
        /// Where.
        there: String,
        /// The sequence that its next release has.
        next: u64,
    },
    /// The head in the destination is older than the one that was published there.
    #[error(
        "the list of releases in {place} is an old one: it is revision {revision}, and revision {published} was published \
         there on {}; subscribers would refuse what goes on from it: put the newer files back from the web server or a \
         copy, then publish again. If they are lost, `--start-over` goes on with release {next}, which subscribers accept",
        day(.at)
    )]
    HeadOlder {
        /// The destination.
        place: String,
        /// The revision that is there.
        revision: u64,
        /// The revision that was published there.
        published: u64,
        /// When.
        at: Timestamp,
        /// The sequence that its next release has.
        next: u64,
    },
    /// The head in the destination says something else than what was published from here.
    #[error(
        "the list of releases in {place} has another {what} than was published from here: somebody has published there \
         from another copy; subscribers accept the one that they have seen first: put that one's files back, then publish \
         again. `--start-over` goes on with release {next}, and leaves out what contradicts"
    )]
    HeadContradicts {
        /// The destination.
        place: String,
        /// What has two meanings.
        what: String,
        /// The sequence that its next release has.
        next: u64,
    },
    /// What was published before cannot be told.
    #[error(
        "{} cannot be read ({why}): it says what was published with your keys; restore it from a copy, or move it away, \
         and see to it yourself that subscribers get a list that follows the one that they have", shown::path(.path)
    )]
    Ledger {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },

    /// The keys are not those of the LivePC in the destination.
    #[error("{0}")]
    Trust(String),
    /// The first publication needs the root key.
    #[error(
        "the first publication of a LivePC needs its root key, which is not in your key folder; put root.key back there, \
         then publish again"
    )]
    RootKeyNeeded,
    /// The destination has the new signing key, but its head is signed with the one before, and the root key is not here.
    #[error(
        "the publication that put a new signing key into {0} was interrupted, and its head is still signed with the key \
         before; put the root key, which is kept offline, back into your key folder, then publish again"
    )]
    HandoverUnfinished(String),
    /// The root key is not in the key folder.
    #[error(
        "there is no root key at {}; it is kept offline: put it back there, and take it away again once all of your \
         LivePCs are published with the new signing key", shown::path(.0)
    )]
    RootKeyAway(PathBuf),
    /// A key file exists already.
    #[error("{} exists already and is not overwritten; a lost key cannot be made again", shown::path(.0))]
    KeyExists(PathBuf),
    /// Others can read what is in the folder of the keys, whatever the keys' own modes are.
    #[error("{} is on a file system that keeps no file from other users of this computer, as exFAT and NTFS may be; give \
             the keys a password, or keep them in a home on another file system", .0.display())]
    KeyExposed(PathBuf),
    /// There is no key file.
    #[error("there is no key at {}; make one with `livepc key new`, or copy yours there", shown::path(.0))]
    KeyMissing(PathBuf),
    /// The key file has a password, and none was given.
    #[error("{} has a password; enter it, or name a file with it in LIVEPC_KEY_PASSWORD_FILE", shown::path(.0))]
    PasswordNeeded(PathBuf),
    /// The key file does not open.
    #[error("{} does not open: the password is wrong, or the file is damaged", shown::path(.0))]
    PasswordWrong(PathBuf),

    /// The key file is none, or not all of one.
    #[error("{} is damaged, or no key: put it back from a copy; `livepc key rotate` makes a new signing key with the root key", shown::path(.0))]
    KeyDamaged(PathBuf),

    /// A catalog exists already.
    #[error("{} exists already and is not overwritten", shown::path(.0))]
    CatalogExists(PathBuf),
    /// There is no catalog.
    #[error("there is no catalog at {}; make one with `livepc catalog init`", shown::path(.0))]
    CatalogMissing(PathBuf),
    /// The destination has a feed that is no LivePC's.
    #[error(
        "{place} has a feed.xml that is no LivePC's, such as a web site's own feed: publish into a folder of its own, or move \
         that file away if nobody needs it"
    )]
    FeedForeign {
        /// The destination.
        place: String,
    },
    /// The catalog has something that would be lost if it were written again.
    #[error(
        "{} has what LivePC does not write, and would lose it: {what}; change the catalog by hand, or make another one \
         with `livepc catalog init`",
        shown::path(.path)
    )]
    CatalogForeign {
        /// The catalog.
        path: PathBuf,
        /// What would be lost first, in words.
        what: String,
    },
    /// The catalog would be longer than readers take.
    #[error(
        "{} would become longer than LivePC reads ({why}); take others out, or make another catalog beside it",
        shown::path(.path)
    )]
    CatalogFull {
        /// The catalog.
        path: PathBuf,
        /// Which bound it would break.
        why: String,
    },
    /// The catalog does not have this LivePC.
    #[error("the catalog has no LivePC whose feed is {0}; `livepc catalog list` shows those that it has")]
    NotInCatalog(String),

    /// The boot trace does not fit the release.
    #[error("the boot trace does not fit the release ({0}); record it again with this release")]
    Trace(String),

    /// The person who started it stopped it.
    #[error("stopped; nothing was changed for subscribers")]
    Cancelled,
    /// Published data is damaged, forged, or for a later version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The operating system refused something.
    #[error("{what} failed: {error}{}", disk_full_text(.error))]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

impl PublishError {
    /// True if a disk was full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { error, .. } => is_full(error),
            Self::FeedStale { error, .. } => error.is_disk_full(),
            _ => false,
        }
    }

    /// True if keys or signatures are the reason.
    #[must_use]
    pub fn is_trust(&self) -> bool {
        match self {
            Self::Trust(_)
            | Self::PasswordWrong(_)
            | Self::HandoverUnfinished(_)
            | Self::BeginsAnew { .. }
            | Self::HeadOlder { .. }
            | Self::HeadContradicts { .. } => true,
            Self::Format(error) => matches!(
                error,
                FormatError::BadSignature { .. }
                    | FormatError::Foreign { .. }
                    | FormatError::WrongDigest { .. }
            ),
            _ => false,
        }
    }
}

/// Says what was tried when an operation of the system fails.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| PublishError::Io { what: what(), error })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn disk_full_text(error: &io::Error) -> &'static str {
    if is_full(error) {
        "; free some space, then publish again: what is there already is not written twice"
    } else {
        ""
    }
}

fn kind_text(own: bool) -> &'static str {
    if own {
        "the subscriber's own"
    } else {
        "a published one"
    }
}

/// The day of a time, in UTC: `2026-11-22`.
fn day(time: &Timestamp) -> impl std::fmt::Display {
    time.strftime("%Y-%m-%d")
}

fn line_text(line: &Option<usize>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}
