//! What clients, the agent and runners say to each other, and how they find each other.
//!
//! The *agent* is the one process of a home that fetches and writes; *runners* serve the disks of one running machine
//! each; *clients* are the app and the command line. They talk over a local socket (a named pipe on Windows) that only
//! the user can open, and that is found through the home alone, as `whereabouts` says: one JSON message a line, as `message`
//! describes. A client sends [`Request`]s and gets an [`Answer`] or a [`Problem`] for each; after [`Request::Watch`] it also
//! gets a whole [`Snapshot`] at every change, four a second at most.
//!
//! The protocol has one version number, and a revision that counts what was added. Fields, requests and answers are only
//! added, never changed, so that a runner that was started by an older LivePC goes on working with a newer agent, and a
//! newer client with an older agent that machines keep alive. Who is newer asks nothing that the other does not know; what
//! is not understood all the same is told, and harms no other call (`message`, `peer`). Every call has a limit
//! (`patience`), and what may be large comes in pages (`paging`).
//!
//! ```no_run
//! # async fn example() -> Result<(), livepc_protocol::Problem> {
//! use livepc_protocol::{Answer, Client, Home, Launcher, Request};
//!
//! let home = Home::default_for_user()?;
//! let launcher = Launcher::for_this_program()?;
//! let client = Client::connect_or_start(&home, &launcher, "example").await?;
//! if let Answer::List { livepcs, .. } = client.all(Request::list()).await? {
//!     println!("{} subscriptions", livepcs.len());
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod block_map;
mod client;
mod desktop;
mod export;
mod folder;
mod home;
mod hypervisor;
mod launch;
mod library;
mod lock;
mod login;
mod message;
#[cfg(test)]
mod older;
mod opened;
mod paging;
mod patience;
mod peer;
mod preview;
mod problem;
mod process;
mod program;
mod pruned;
mod request;
mod rooms;
mod socket;
mod state;
mod store_place;
mod tolerant;
mod whereabouts;
mod wording;

pub use answer::{Answer, UpdateReport};
pub use block_map::BlockMap;
pub use client::Client;
pub use desktop::Desktop;
pub use export::{Export, ExportFormat};
pub use folder::{is_private, keeps_modes, private_folder};
pub use home::Home;
pub use hypervisor::{HypervisorKind, HypervisorStatus};
pub use launch::{Launcher, detach};
pub use library::{LibraryEntry, SourceStatus};
pub use lock::ProcessLock;
pub use login::{LoginInfo, Secret};
pub use message::{
    Call, Line, MAX_MESSAGE, Message, PAGE_BYTES, PROTOCOL, REVISION, Read, Write, line_of, read_message,
    write_line, write_message,
};
pub use opened::{IndexObject, OpenedRelease};
pub use peer::Peer;
pub use preview::{Lookalike, Preview};
pub use problem::{Code, Problem};
pub use process::allow_many_files;
pub use program::{remove_superseded, stay_in_use};
pub use pruned::{Pruned, PrunedRelease};
pub use request::{Display, JobAction, Request, Until};
pub use socket::{Listener, Stream};
pub use state::{
    Damage, Job, JobKind, JobPhase, JobStatus, LivePc, MachineState, OwnDisk, ReleaseInfo, RunnerState,
    Snapshot, Stale, StaleReason, StoreUse, Trust, UpdatePolicy,
};
pub use store_place::StorePlace;
pub use whereabouts::Whereabouts;
