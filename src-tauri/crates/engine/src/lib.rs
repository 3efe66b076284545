//! The product without a face: subscriptions, the Library, downloads, machines, and what runs them.
//!
//! # Terms
//! The *agent* ([`agent`]) is the one process of a home that asks servers and writes; a *runner* ([`runner`]) is the
//! process of one running machine: it serves the machine's disks and watches its hypervisor. Both are roles of the
//! `livepc` program. Clients speak to the agent through `livepc-protocol`, and never touch the home themselves.
//!
//! Every file of this crate that is not one of the two is a subject: `trust` decides what is accepted after what,
//! `freshness` whether that is still as new as it should be, `published` what a server says, `library` and `subscription`
//! what is kept of it, `serve` and `export` what a release's disks can be used for without a machine, and `user_disk` the
//! disks that are the subscriber's own.
//!
//! ```no_run
//! # async fn example() -> Result<(), livepc_protocol::Problem> {
//! use livepc_engine::agent::{self, AgentOptions};
//! use livepc_protocol::{Home, Launcher};
//!
//! let (home, launcher) = (Home::default_for_user()?, Launcher::for_this_program()?);
//! agent::run(AgentOptions { home, launcher, clock: jiff::Timestamp::now }, || println!("ready")).await
//! # }
//! ```

mod adapter;
mod address;
pub mod agent;
mod backend;
pub mod catalog_entry;
pub mod config;
mod connection;
mod database;
pub mod doctor;
mod export;
mod faults;
mod folder_bytes;
mod freshness;
mod hours;
mod hypervisors;
mod leftovers;
mod library;
mod locked;
mod logins;
pub mod logs;
mod lookalike;
mod machine_folder;
mod own_start;
mod pages;
mod pins;
mod problems;
mod published;
pub mod record;
pub mod runner;
pub mod serve;
mod server;
pub mod session_end;
pub mod store_move;
mod subscription;
mod trust;
mod user_disk;
mod words;
