//! What can be asked of the agent, and by the agent of a runner.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::Desktop;
use crate::export::Export;
use crate::hypervisor::HypervisorKind;
use crate::login::Secret;
use crate::opened::IndexObject;
use crate::state::{RunnerState, UpdatePolicy};

/// How far a release is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Until {
    /// All that a start reads.
    BootReady,
    /// All.
    Complete,
}

/// Whether a machine has a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Display {
    /// A window of the hypervisor's.
    #[default]
    Window,
    /// None.
    None,
}

/// What a client or runner asks of the agent, or the agent of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "verb", rename_all = "kebab-case")]
#[ts(export)]
pub enum Request {
    /// Adds a catalog or a feed to the Library. Answer: `Sources`.
    SourceAdd {
        /// Its URL.
        url: String,
    },
    /// Removes a source. Answer: `Sources`.
    SourceRemove {
        /// Its URL.
        url: String,
    },
    /// Lists the sources. Answer: `Sources`.
    SourceList {
        /// Where the last page ended, as its `next` said; the first page if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<String>,
    },
    /// Asks every source again. Answer: `Sources`.
    SourceRefresh,
    /// Searches the Library. Answer: `Library`.
    Search {
        /// Words that title, summary, publisher or a category must have; empty finds all.
        text: String,
        /// Where the last page ended, as its `next` said; the first page if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<String>,
    },
    /// Looks at a feed before subscribing: reads feed, keys and head, fetches no pack. Answer: `Preview`.
    Preview {
        /// The feed's URL.
        feed_url: String,
    },
    /// Subscribes, after a person confirmed the fingerprint; asking again changes nothing. Answer: `LivePc`.
    Subscribe {
        /// The feed's URL.
        feed_url: String,
        /// The fingerprint that was shown and confirmed.
        fingerprint: String,
        /// True to fetch boot-ready, then complete, at once.
        download: bool,
    },
    /// Lists the subscriptions. Answer: `List`.
    List {
        /// Where the last page ended, as its `next` said; the first page if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<String>,
    },
    /// One subscription with its releases. Answer: `Shown`.
    Show {
        /// The id, or the feed's URL. Requests that only look or do what can be undone also take a unique beginning of the
        /// id; those that change, stop or remove something do not.
        id: String,
        /// The last release of the last page, as its `next` said; the first page if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<u64>,
        /// True to take no beginning of an id, as a client does before it asks for what another request would refuse.
        #[serde(default)]
        exact: bool,
    },
    /// Fetches a release. Answer: `Job`, at once.
    Download {
        /// The LivePC.
        id: String,
        /// How far.
        until: Until,
        /// The release; the newest accepted one if not given.
        release: Option<u64>,
    },
    /// Checks the feed, and fetches what is new to the level of the current release. Answer: `Updates`.
    Update {
        /// The LivePC; all if not given.
        id: Option<String>,
        /// True to look only.
        check: bool,
        /// Where the last page ended, as its `next` said; those behind it have not been checked yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<String>,
    },
    /// Ends a subscription. Answer: `Done`.
    Unsubscribe {
        /// The LivePC.
        id: String,
        /// True to delete the machine's overlay and own disks too.
        delete_data: bool,
    },
    /// Starts the machine; answers when the guest executes. Answer: `LivePc`.
    Start {
        /// The LivePC.
        id: String,
        /// Whether it has a window.
        display: Display,
        /// A file that gets what the guest writes to its first serial port.
        serial: Option<String>,
        /// True to fetch the rest in the background.
        fill: bool,
        /// The hypervisor, and no other; the one that fits best if not given.
        #[serde(default)]
        hypervisor: Option<HypervisorKind>,
        /// An image of a CD for the machine's drive, as an absolute path; without one it has no drive. A machine that goes on
        /// from a suspension keeps what it had.
        #[serde(default)]
        cd: Option<String>,
        /// True to start also with less free memory than the machine has.
        #[serde(default)]
        overcommit: bool,
        /// Where its window is shown; a client that does not say so is taken to be on its own desktop.
        #[serde(default)]
        #[ts(skip)]
        desktop: Option<Desktop>,
    },
    /// Stops the machine; answers when it has ended. Answer: `LivePc`.
    Stop {
        /// The LivePC.
        id: String,
        /// True to end it without asking the guest.
        force: bool,
        /// Seconds that the guest may take.
        timeout: u64,
    },
    /// Saves the machine's memory and ends it, so that the next start goes on from there; answers when it has ended. Answer:
    /// `LivePc`.
    Suspend {
        /// The LivePC.
        id: String,
    },
    /// Gives up what a suspended machine had in memory: the next start is a cold one. Answer: `LivePc`.
    Revert {
        /// The LivePC.
        id: String,
    },
    /// Gives up what was changed on the system disk. Answer: `LivePc`.
    Reset {
        /// The LivePC.
        id: String,
    },
    /// Decides whether changes of the system disk outlive the machine; they keep it on its release. Answer: `LivePc`.
    Keep {
        /// The LivePC.
        id: String,
        /// True to keep them.
        keep: bool,
    },
    /// Decides what happens when there is a new release. Answer: `LivePc`.
    SetPolicy {
        /// The LivePC.
        id: String,
        /// What happens.
        policy: UpdatePolicy,
    },
    /// Decides which release the next cold starts use. Answer: `LivePc`.
    Pin {
        /// The LivePC.
        id: String,
        /// The release; the newest again if not given.
        release: Option<u64>,
    },
    /// Goes back to an earlier release that is still here, and stays on it. Answer: `LivePc`.
    Rollback {
        /// The LivePC.
        id: String,
        /// The release; the one before the one in use if not given.
        release: Option<u64>,
    },
    /// Makes a disk larger that is the subscriber's own; refused while the machine runs or is suspended. Answer: `LivePc`.
    GrowDisk {
        /// The LivePC.
        id: String,
        /// The disk's role.
        disk: String,
        /// Its bytes from then on.
        size: u64,
    },
    /// Writes disks as files for other programs; a release that is read is fetched completely before. Answer: `Job`, once it
    /// is known that it can be done.
    Export {
        /// The LivePC.
        id: String,
        /// The release; the newest accepted one if not given. Changes belong to one release, and are exported with that.
        release: Option<u64>,
        /// What is written, and where to.
        export: Export,
    },
    /// Tells a stalled machine to go on now. Answer: `Done`.
    Retry {
        /// The LivePC.
        id: String,
    },
    /// How a job stands, or how it ended, if that was not long ago. Answer: `Job`.
    Job {
        /// The job's number.
        job: u64,
    },
    /// Pauses, resumes, cancels or retries a job. Answer: `Done`.
    JobControl {
        /// The job's number.
        job: u64,
        /// What to do.
        action: JobAction,
    },
    /// Pauses or resumes all downloads; a running guest's reads go on. Answer: `Done`.
    PauseAll {
        /// True to pause.
        paused: bool,
    },
    /// Which parts of a release are here. Answer: `BlockMap`.
    BlockMap {
        /// The LivePC.
        id: String,
        /// The release; the one that a start would use if not given.
        release: Option<u64>,
    },
    /// Checks what is in the store. Answer: `Job`.
    Verify {
        /// The LivePC; all if not given.
        id: Option<String>,
        /// True to fetch again what is damaged; else it is only removed, and the job fails.
        #[serde(default)]
        repair: bool,
    },
    /// Removes from the store what no subscription needs. Answer: `Pruned`.
    Prune {
        /// True to change nothing, and only say what would go.
        dry_run: bool,
        /// True if releases go as well that somebody had fetched by their number.
        #[serde(default)]
        wanted: bool,
    },
    /// Makes a user known to a server, after the server has accepted it; the password is kept in the system's keyring.
    /// Answer: `Logins`.
    Login {
        /// An address that the server lets this user have. Its scheme, host and port are the server.
        url: String,
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// Forgets who is known to a server. Answer: `Logins`.
    Logout {
        /// The server, or an address on it.
        url: String,
    },
    /// Lists who is known to which server. Answer: `Logins`.
    Logins {
        /// Where the last page ended, as its `next` said; the first page if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        after: Option<String>,
    },
    /// The value of a setting. Answer: `Setting`.
    ConfigGet {
        /// Its name.
        name: String,
    },
    /// Changes a setting. Answer: `Setting`.
    ConfigSet {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Looks which hypervisors are on this computer, which takes some seconds. Answer: `Hypervisors`.
    Hypervisors,
    /// All that clients show, now. Answer: `Snapshot`.
    Snapshot,
    /// From now on a `Snapshot` message at every change. Answer: `Done`.
    Watch,
    /// Makes a release's metadata local, so that its disks can be served. Answer: `Opened`.
    OpenRelease {
        /// The LivePC.
        id: String,
        /// The release; the newest accepted one if not given.
        release: Option<u64>,
    },
    /// Makes pages of a pack local, before all else. Answer: `Done`, when they are.
    Fetch {
        /// The release's key, as `Opened` gave it.
        key: String,
        /// The pack.
        pack: String,
        /// The first page.
        first_page: u32,
        /// Pages.
        pages: u32,
        /// True if nobody waits for them.
        ahead: bool,
    },
    /// Makes an object of the index local. Answer: `Done`, when it is.
    Object {
        /// The release's key.
        key: String,
        /// The object.
        object: IndexObject,
    },
    /// A runner tells how its machine is. Answer: `Done`.
    RunnerReport {
        /// The machine's state.
        state: RunnerState,
    },
    /// To a runner: how the machine is. Answer: `Runner`.
    RunnerStatus,
    /// To a runner: stop the machine, answers when it has ended. Answer: `Runner`.
    RunnerStop {
        /// True to end it without asking the guest.
        force: bool,
        /// Seconds that the guest may take.
        timeout: u64,
    },
    /// To a runner: save the machine's memory and end it; answers when it has ended. Answer: `Runner`.
    RunnerSuspend,
    /// To a runner: a stalled machine should go on now. Answer: `Done`.
    RunnerRetry,
    /// Ends the agent if it has neither work nor runners. Answer: `Done`.
    AgentStop,
}

/// What to do with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum JobAction {
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
    /// Stop for good; what is here stays.
    Cancel,
    /// Try again.
    Retry,
}
