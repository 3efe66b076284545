//! What the agent or a runner answers.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::hypervisor::HypervisorStatus;
use crate::library::{LibraryEntry, SourceStatus};
use crate::login::LoginInfo;
use crate::opened::OpenedRelease;
use crate::preview::Preview;
use crate::pruned::Pruned;
use crate::state::{Job, LivePc, ReleaseInfo, RunnerState, Snapshot};
use crate::{BlockMap, Problem};

/// What the agent or a runner answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[ts(export)]
#[allow(clippy::large_enum_variant)]
pub enum Answer {
    /// It is done.
    Done,
    /// The sources.
    Sources {
        /// In the order in which they were added.
        #[serde(deserialize_with = "crate::tolerant::list")]
        sources: Vec<SourceStatus>,
        /// Where this page ends, if there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<String>,
    },
    /// What a search found.
    Library {
        /// By title.
        #[serde(deserialize_with = "crate::tolerant::list")]
        entries: Vec<LibraryEntry>,
        /// Entries of the Library in all.
        total: u64,
        /// The sources.
        #[serde(deserialize_with = "crate::tolerant::list")]
        sources: Vec<SourceStatus>,
        /// Where this page ends, if there are more entries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<String>,
    },
    /// A feed, before subscribing.
    Preview {
        /// What a person decides on.
        preview: Preview,
    },
    /// One subscription.
    LivePc {
        /// The subscription.
        livepc: LivePc,
    },
    /// All subscriptions.
    List {
        /// By title.
        #[serde(deserialize_with = "crate::tolerant::list")]
        livepcs: Vec<LivePc>,
        /// Where this page ends, if there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<String>,
    },
    /// One subscription with its releases.
    Shown {
        /// The subscription.
        livepc: LivePc,
        /// Its releases, newest first.
        #[serde(deserialize_with = "crate::tolerant::list")]
        releases: Vec<ReleaseInfo>,
        /// The last release of this page, if there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<u64>,
    },
    /// A job was queued, or one that does the same was found.
    Job {
        /// The job.
        job: Job,
    },
    /// What updates there are.
    Updates {
        /// By LivePC.
        #[serde(deserialize_with = "crate::tolerant::list")]
        updates: Vec<UpdateReport>,
        /// Where this page ends, if there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<String>,
    },
    /// What left the store, or would.
    Pruned {
        /// It.
        pruned: Pruned,
    },
    /// Which parts of a release are here.
    BlockMap {
        /// They.
        map: BlockMap,
    },
    /// Who is known to which server.
    Logins {
        /// By server.
        #[serde(deserialize_with = "crate::tolerant::list")]
        logins: Vec<LoginInfo>,
        /// Where this page ends, if there are more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        next: Option<String>,
    },
    /// A setting.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The hypervisors of this computer.
    Hypervisors {
        /// Every kind, also those that are not here.
        #[serde(deserialize_with = "crate::tolerant::list")]
        hypervisors: Vec<HypervisorStatus>,
    },
    /// Everything that a client shows.
    Snapshot {
        /// It.
        snapshot: Snapshot,
    },
    /// A release whose disks can be served.
    Opened {
        /// It.
        release: OpenedRelease,
    },
    /// How a runner's machine is.
    Runner {
        /// It.
        state: RunnerState,
    },
}

/// What an update found for one LivePC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct UpdateReport {
    /// The LivePC.
    pub id: String,
    /// The release in use, or the newest one before this check.
    pub from: Option<u64>,
    /// The newest release.
    pub to: Option<u64>,
    /// Bytes to fetch for it.
    pub bytes_to_fetch: u64,
    /// What changed, as plain text.
    pub changelog: String,
    /// The job that fetches it.
    pub job: Option<u64>,
    /// Why it could not be checked.
    pub problem: Option<Problem>,
}
