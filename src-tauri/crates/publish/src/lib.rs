//! From raw disk images to a LivePC in a folder that any web server can serve.
//!
//! A [`Project`] (a folder with `livepc.toml`) names the images; a [`Destination`] is where the files go; a [`KeyFolder`]
//! has the keys. [`publish()`] makes a *release* of them. It reads each disk twice:
//!
//! 1. The disk is split into *regions* (its partitions and what lies between), and every *page* (4 KiB, counted from
//!    the beginning of its region) is hashed. Pages that are zero are dropped; pages that a kept release has, wherever they
//!    lay, are *known* and never published again; a page that is equal to one before it *repeats* it. What is left is
//!    *new*.
//! 2. New pages are read again in disk order, 64 at a time compressed to *chunks*, and put into *packs*.
//!
//! The *index* then says of each page in which pack it lies, and the *head* lists the release. [`add_boot_map`] adds the
//! pages that a start reads, once somebody has recorded one. [`renew()`] signs the list of releases anew. [`catalog`] keeps an operator's list of LivePCs.
//!
//! What is known of earlier releases is read from the destination, so any computer with the keys can publish. Memory is
//! bounded whatever the disks' sizes: what grows with them goes through sorting in temporary files. The same disks after
//! the same releases give the same packs and the same index, so a publication that was interrupted is simply repeated.
//!
//! ```
//! use livepc_publish::{KeyFolder, Project, PublishOptions, Silent, open_destination, publish};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let at = |name: &str| dir.path().join(name);
//! std::fs::write(at("disk.raw"), [7; 8192])?;
//! let project = Project::init(&at("disk.raw"), "Net Lab", &at("lab"))?;
//! let keys = KeyFolder::new(at("keys"));
//! keys.create(None)?;
//!
//! let site = open_destination(&at("site").display().to_string())?;
//! let options = PublishOptions::new(jiff::Timestamp::now());
//! let published = publish(&project, &site, &keys.publish_keys(None, true)?, &options, &Silent)?;
//! assert_eq!((published.sequence, published.pages_new), (1, 1), "both pages are equal");
//! assert!(at("site").join("feed.xml").exists());
//! # Ok(())
//! # }
//! ```

mod authority;
mod boot;
pub mod catalog;
mod content;
mod cost;
mod destination;
mod doubts;
mod error;
mod extents;
mod feed_file;
mod keyfile;
mod kind;
mod known;
mod layout;
mod ledger;
mod logo;
mod next_head;
mod opened;
mod os;
mod output;
mod pack;
mod progress;
mod project;
mod publish;
mod regions;
mod renew;
mod resolve;
mod roles;
mod scan;
mod sort;
mod source;
mod standing;

pub use authority::PublishKeys;
pub use boot::{AddedBootMap, BootTrace, TraceRead, add_boot_map};
pub use destination::{Destination, Folder, Lock, Put, open_destination};
pub use error::{PublishError, Result};
pub use keyfile::{KeyFolder, PublicKeys, Rotated};
pub use kind::FileKind;
pub use ledger::Ledger;
pub use opened::Opened;
pub use progress::{Phase, Progress, Silent};
pub use project::{PROJECT_FILE, Project, ProjectContent, ProjectDisk};
pub use publish::{LEVEL, PublishOptions, Published, publish};
pub use renew::{Renewed, renew};
pub use source::{Source, TakenFor};
