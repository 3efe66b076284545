//! What clients see of the agent's state: always whole, never as changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{HypervisorKind, Problem};

/// The state of a LivePC and its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum MachineState {
    /// Subscribed; nothing of a release is here yet.
    Absent,
    /// A release is being fetched and is not boot-ready yet.
    Preparing,
    /// It can be started.
    Ready,
    /// The hypervisor is being started.
    Starting,
    /// The guest executes.
    Running,
    /// The guest is paused until data arrives.
    Stalled,
    /// The guest's memory is saved on disk.
    Suspended,
    /// The guest is shutting down.
    Stopping,
    /// It ran and has ended.
    Stopped,
    /// It ended in a way that it should not.
    Failed,
}

impl MachineState {
    /// True while a runner has the machine.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Stalled | Self::Stopping
        )
    }
}

impl From<MachineState> for &'static str {
    fn from(state: MachineState) -> Self {
        match state {
            MachineState::Absent => "absent",
            MachineState::Preparing => "preparing",
            MachineState::Ready => "ready",
            MachineState::Starting => "starting",
            MachineState::Running => "running",
            MachineState::Stalled => "stalled",
            MachineState::Suspended => "suspended",
            MachineState::Stopping => "stopping",
            MachineState::Stopped => "stopped",
            MachineState::Failed => "failed",
        }
    }
}

/// How far the publisher's key is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Trust {
    /// Signatures are valid and the user confirmed the key.
    Verified,
    /// Signatures are valid; the key was never confirmed.
    FirstSeen,
}

/// A release, as far as a subscriber needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct ReleaseInfo {
    /// Counts the releases: 1, 2, 3 …
    pub sequence: u64,
    /// What the publisher calls it.
    pub label: String,
    /// When it was made.
    #[ts(type = "string")]
    pub created: Timestamp,
    /// What changed, as plain text; empty until the release was looked at.
    pub changelog: String,
    /// `current`, `yanked` or `withdrawn`.
    pub state: String,
    /// Bytes to fetch for it from what is here now.
    pub bytes_to_fetch: u64,
}

/// A subscription and its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct LivePc {
    /// The name it goes by on this computer, made at subscribe.
    pub id: String,
    /// What its publisher calls it.
    pub title: String,
    /// One line about it.
    pub summary: String,
    /// Who publishes it, as its feed says.
    pub publisher: String,
    /// The family of the guest's operating system; empty until a release was looked at.
    pub guest_os: String,
    /// Where its feed is.
    pub feed_url: String,
    /// Where its feed was before: its publisher has moved, and the subscription has gone along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub moved_from: Option<String>,
    /// The publisher's root key, as minisign writes it.
    pub publisher_key: String,
    /// What people compare of the key.
    pub fingerprint: String,
    /// How far the key is trusted.
    pub trust: Trust,
    /// Whether another subscription, whose publisher has another key, looks like it by its title: they are told apart by
    /// their fingerprints.
    #[serde(default)]
    pub alike: bool,
    /// The release that the machine runs or last ran.
    pub release_in_use: Option<u64>,
    /// Its label.
    pub label_in_use: Option<String>,
    /// The newest release that was accepted.
    pub release_available: Option<u64>,
    /// Its label.
    pub label_available: Option<String>,
    /// The release that runs, or that the next start uses, if its publisher does not offer it any more: what is here of it can
    /// be used on, and what is missing cannot be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub withdrawn: Option<u64>,
    /// True if all that a start reads is here. This and the next six are of the release that the next start uses.
    pub boot_ready: bool,
    /// True if all is here.
    pub complete: bool,
    /// True if a start was recorded, so that boot-ready is less than complete.
    pub has_boot_map: bool,
    /// Stored bytes that are here.
    pub bytes_local: u64,
    /// Stored bytes of the release.
    pub bytes_total: u64,
    /// Stored bytes here of what a start reads.
    pub boot_bytes_local: u64,
    /// Stored bytes of what a start reads.
    pub boot_bytes_total: u64,
    /// Bytes to fetch for the newest release, as far as the one in use is here, if that is another; before the first start,
    /// the newest that could be started without the network counts as in use.
    pub update_bytes: Option<u64>,
    /// The machine's state.
    pub state: MachineState,
    /// Why it failed, is stalled or cannot be fetched.
    pub problem: Option<Problem>,
    /// Why what is known of its releases may be out of date; nothing if it is as fresh as it should be.
    pub stale: Option<Stale>,
    /// The release that the next start uses, or else the one in use, if its publisher has taken it back for a fault.
    pub yanked: Option<u64>,
    /// When the feed was last asked, successfully.
    #[ts(type = "string | null")]
    pub checked: Option<Timestamp>,
    /// When the machine was last started.
    #[ts(type = "string | null")]
    pub last_used: Option<Timestamp>,
    /// Bytes on disk of the store that only this LivePC's releases need: what unsubscribing frees.
    #[serde(default)]
    pub store_bytes_private: u64,
    /// Bytes on disk of the store that another LivePC's releases need too.
    #[serde(default)]
    pub store_bytes_shared: u64,
    /// Bytes of the machine's overlay and own disks.
    pub machine_bytes: u64,
    /// The hypervisor that runs it; of a machine that does not run, the one that its changes or its suspension belong to.
    pub hypervisor: Option<HypervisorKind>,
    /// Why another hypervisor, which was to be preferred, does not run it.
    pub passed_over: Option<String>,
    /// What happens when there is a new release.
    pub policy: UpdatePolicy,
    /// The release that cold starts use, if somebody has chosen one.
    pub pinned: Option<u64>,
    /// Whether changes of the system disk outlive the machine; it stays on the release that they belong to.
    pub keep_changes: bool,
    /// Bytes of what was changed on the system disk since it was clean.
    pub changes_bytes: u64,
    /// When the machine was suspended, if it is.
    #[ts(type = "string | null")]
    pub suspended: Option<Timestamp>,
    /// Bytes of what a suspended machine had in memory.
    pub suspended_bytes: u64,
    /// The disks that are the subscriber's own, as far as the release is known.
    #[serde(default)]
    pub own_disks: Vec<OwnDisk>,
    /// An earlier release to go back to, since the one in use has failed to start again and again.
    pub rollback_to: Option<u64>,
}

/// A disk of a machine that is the subscriber's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct OwnDisk {
    /// Its role.
    pub role: String,
    /// Its bytes; of one that is not made yet, those that it will have.
    pub size: u64,
    /// Whether it is made: the first start does that.
    pub made: bool,
}

/// What is known of a LivePC's releases is older than it should be: its publisher is away, or somebody in between holds
/// back what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Stale {
    /// How that is known.
    pub why: StaleReason,
    /// The last time at which it was fresh.
    #[ts(type = "string")]
    pub since: Timestamp,
}

/// How it is known that something is older than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum StaleReason {
    /// The publisher has not renewed the list of releases in the time that it had set itself. Fresh was it when it was
    /// signed.
    Expired,
    /// What the server says now was refused, because it is older than what it said before, or contradicts it. Fresh was
    /// what was accepted last.
    Refused,
    /// The feed could not be read for days. Fresh was what was read last.
    Unreachable,
}

/// What happens when there is a new release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum UpdatePolicy {
    /// It is fetched in the background, and the next cold start uses it.
    #[default]
    Auto,
    /// It is shown, and fetched when somebody says so.
    Notify,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum JobKind {
    /// Fetches a release.
    Download,
    /// Checks what is here.
    Verify,
    /// Writes disks as files for other programs.
    Export,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum JobPhase {
    /// Reads the manifest and the index.
    Metadata,
    /// Fetches what a start reads.
    BootReady,
    /// Fetches the rest.
    Complete,
    /// Reads and checks chunks that are here.
    Checking,
    /// Writes an export.
    Writing,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum JobStatus {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running,
    /// Somebody paused it.
    Paused,
    /// It cannot reach a server, and tries again by itself.
    Waiting,
    /// It ended with a problem.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It is done.
    Done,
}

impl JobStatus {
    /// True if nothing more will happen by itself.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Done)
    }
}

/// A piece of work of the agent, kept across its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Job {
    /// Its number.
    pub job: u64,
    /// The LivePC's id.
    pub id: String,
    /// The LivePC's title.
    pub title: String,
    /// What it does.
    pub kind: JobKind,
    /// The release; the newest one of those that are checked.
    pub release: u64,
    /// How far a release is fetched.
    pub until: Option<crate::Until>,
    /// What an export writes, and where to.
    #[serde(default)]
    pub export: Option<crate::Export>,
    /// Whether a check fetches again what it finds damaged.
    #[serde(default)]
    pub repair: bool,
    /// What a check has found damaged so far.
    #[serde(default)]
    pub damage: Option<Damage>,
    /// What it is doing.
    pub phase: JobPhase,
    /// How it stands.
    pub status: JobStatus,
    /// Stored bytes of the goal that are here, those from before included: a resume never starts at nothing. Of an export
    /// that is written, bytes of its disks.
    pub bytes_done: u64,
    /// Bytes of the goal.
    pub bytes_total: u64,
    /// Of `bytes_done`, what was here before the job began.
    pub bytes_reused: u64,
    /// Bytes a second, over the last few seconds.
    pub bytes_per_second: u64,
    /// When it was asked for.
    #[ts(type = "string")]
    pub started: Timestamp,
    /// When it ended.
    #[ts(type = "string | null")]
    pub ended: Option<Timestamp>,
    /// Why it failed or waits.
    pub problem: Option<Problem>,
}

/// What a check has found damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Damage {
    /// Chunks that were not what was published, and were removed.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that are here again, whole.
    pub repaired_chunks: u64,
    /// Their bytes.
    pub repaired_bytes: u64,
}

/// What the store takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct StoreUse {
    /// The folder that it is in.
    pub place: String,
    /// Bytes allocated on disk.
    pub bytes: u64,
    /// Bytes free on that disk.
    pub free: u64,
}

/// Everything that a client shows, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Snapshot {
    /// All subscriptions, by title.
    #[serde(deserialize_with = "crate::tolerant::list")]
    pub livepcs: Vec<LivePc>,
    /// Jobs that go on, and those that ended lately, newest first.
    #[serde(deserialize_with = "crate::tolerant::list")]
    pub jobs: Vec<Job>,
    /// True while all downloads are paused.
    pub paused: bool,
    /// What the store takes.
    pub store: StoreUse,
    /// Counts changes of the Library, so that clients know when to search again.
    pub library_revision: u64,
    /// Subscriptions that have no place here, because there are too many; `List` has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[ts(optional, as = "Option<u64>")]
    pub omitted: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde wants it.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a runner tells of its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct RunnerState {
    /// The LivePC's id.
    pub id: String,
    /// The release that it runs.
    pub release: u64,
    /// The machine's state.
    pub state: MachineState,
    /// Why it is stalled or failed.
    pub problem: Option<Problem>,
    /// The hypervisor that runs it; not known before it does.
    #[serde(default)]
    pub hypervisor: Option<HypervisorKind>,
    /// Why another hypervisor, which was to be preferred, does not run it.
    #[serde(default)]
    pub passed_over: Option<String>,
}
