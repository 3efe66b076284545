//! What publishers do: keys, projects, releases, catalogs.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a root key, to be kept offline, and a signing key
    New {
        /// Do not protect them with a password
        #[arg(long)]
        no_password: bool,
    },
    /// Replace the signing key, lost or not, by the word of the root key; the old one is kept
    #[command(after_help = "Example:
  livepc key rotate
  livepc publish net-lab --to /srv/www/net-lab --renew

The root key signs for the new one when a LivePC is published next: publish each of yours, with
or without a new release, before you take the root key away again. Until then its subscribers
trust the old key.")]
    Rotate {
        /// Do not protect the new key with a password
        #[arg(long)]
        no_password: bool,
    },
    /// Show the public keys and the fingerprint that subscribers see
    Show,
}

/// What a file is taken for, whatever it looks like.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum TakenAs {
    /// The bytes of a disk
    Raw,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectVerb {
    /// Write a livepc.toml for a disk; the disk itself stays where it is
    #[command(after_help = "Example:
  livepc project init disk.raw --name \"Net Lab\" --dir net-lab
  livepc publish net-lab --to /srv/www/net-lab")]
    Init {
        /// The disk: a raw image
        source: PathBuf,
        /// What it is called
        #[arg(long)]
        name: String,
        /// The project's folder
        #[arg(long, value_name = "P")]
        dir: PathBuf,
        /// Take the file as it is, even if it looks like no raw disk
        #[arg(long = "as", value_name = "FORMAT")]
        taken_as: Option<TakenAs>,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  livepc publish net-lab --to /srv/www/net-lab --label 2026.11 --record-boot --boot-until 'login:'
  livepc publish net-lab --to /srv/www/net-lab --renew

If livepc.toml has expires-after, subscribers are told that the list of releases may be out of
date when it was not published for that long. To publish renews it, whether there is a new
release or not.

If livepc.toml has address, subscribers who follow the feed elsewhere go there and stay, if the
same LivePC with your key is there. To move: copy all files to the new place, set address, publish
or renew, and leave the files with the new feed.xml at the old place for as long as you can.")]
pub(crate) struct Publish {
    /// The project's folder
    pub(crate) project: PathBuf,
    /// Where to: a folder, or a file:// URL
    #[arg(long, value_name = "DEST")]
    pub(crate) to: String,
    /// What the release is called [default: its number]
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// What has changed
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) changelog: String,
    /// Say what would be published, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on where files of the folder are lost: with a new release after all that were published from here, so that
    /// subscribers accept it
    #[arg(long)]
    pub(crate) start_over: bool,
    /// Make no release and read no disk: only sign the list of releases anew, with a new expiry
    #[arg(long, conflicts_with_all = ["label", "changelog", "dry_run", "record_boot", "start_over"])]
    pub(crate) renew: bool,
    /// Boot the release once, and publish which pages a start reads
    #[arg(long)]
    pub(crate) record_boot: bool,
    /// The start is over when the serial port says this, a regular expression [default: when nothing more is read]
    #[arg(long, value_name = "REGEX", requires = "record_boot")]
    pub(crate) boot_until: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogVerb {
    /// Begin a catalog
    Init(CatalogArgs),
    /// Add a LivePC, or bring its entry up to date
    Add(CatalogArgs),
    /// Remove a LivePC
    Remove(CatalogArgs),
    /// List the LivePCs
    List(CatalogArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CatalogArgs {
    /// The catalog's file
    pub(crate) catalog: PathBuf,
    /// The address of a LivePC's feed
    #[arg(long, value_name = "URL")]
    pub(crate) feed: Option<String>,
    /// What the catalog is called
    #[arg(long)]
    pub(crate) title: Option<String>,
}
