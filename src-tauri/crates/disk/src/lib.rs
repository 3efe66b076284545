//! A LivePC's disk as a read-only block device, and the ways to hand it to a hypervisor.
//!
//! # Overview
//!
//! Everything that can be read like a disk is a [`BlockDevice`](block::BlockDevice); a release's disk, whose pages come
//! from the chunk store or the network, is a [`ReleaseDisk`](release::ReleaseDisk). Exports are written over that trait and
//! know nothing of releases: [`nbd`] serves devices to QEMU, and [`mount`] shows them as files to VMware. Reads are asynchronous, because a page may have to come from
//! the network first; [`ReadError::Waited`](block::ReadError::Waited) says that it did not come in time, on which a
//! hypervisor pauses its machine instead of telling the guest.
//!
//! # Terms
//!
//! - *device*: a [`BlockDevice`](block::BlockDevice); its content does not change while it is in use.
//! - *piece*: a part of what was read: data, or a count of zeros that take no memory.
//! - *run*: a stretch of a device that is all data or all zero, known without reading it.
//! - *export*: a device under the name by which clients of a server ask for it.
//!
//! # Example
//!
//! A file of raw disk content ([`RawFile`](raw_file::RawFile)), served on a loopback port:
//!
//! ```
//! use std::{io::Write as _, sync::Arc};
//!
//! use livepc_disk::{
//!     block::BlockDevice,
//!     nbd::{Exports, Listen, Server},
//!     raw_file::RawFile,
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut file = tempfile::tempfile()?;
//! file.write_all(b"the first sector")?;
//! let disk = RawFile::new(file)?;
//! assert_eq!(disk.read_at(4, 5).await?, "first");
//!
//! let server = Server::start(&Listen::Loopback, Exports::single(Arc::new(disk))).await?;
//! println!("attach {}", server.address().uri(""));
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod block;
pub mod mount;
pub mod nbd;
pub mod raw_file;
pub mod release;
pub mod vmdk;
