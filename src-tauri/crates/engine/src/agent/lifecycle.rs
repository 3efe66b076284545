//! What can be done with a machine besides starting and stopping it, and which release its next cold start uses.

use std::sync::Arc;

use livepc_format::manifest::{Content, Disk};
use livepc_protocol::{Answer, Code, MachineState, Problem, Request, UpdatePolicy};

use super::core::Core;
use crate::machine_folder::{MachineFolder, MachineRecords};
use crate::problems::not_found;
use crate::subscription::{self, Subscription};
use crate::user_disk::UserDisk;

/// Starts of one release that have to fail in a row before going back is offered.
const FAILURES: u64 = 2;

/// What a person can ask of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Suspend,
    Revert,
    Reset,
    Rollback,
    Grow,
}

/// Whether a machine in this state can be asked for it; if not, why, and what to do.
///
/// Start and stop are not here: both are done already where they would be refused.
fn allows(state: MachineState, action: Action) -> Result<(), (&'static str, &'static str)> {
    use Action::{Grow, Reset, Revert, Rollback, Suspend};
    match (state, action) {
        (MachineState::Running, Suspend) => Ok(()),
        (MachineState::Stalled, Suspend) => Err((
            "It is paused because its data has not arrived.",
            "Suspend it when it goes on.",
        )),
        (_, Suspend) => Err(("It is not running.", "Only a running machine can be suspended.")),
        (MachineState::Suspended, Revert | Rollback) => Ok(()),
        (MachineState::Suspended, Reset) => Err((
            "It is suspended, and its memory belongs to what is on its disk.",
            "Revert it first, or resume it and shut it down.",
        )),
        (MachineState::Suspended, Grow) => Err((
            "It is suspended, and what it has in memory knows the disk as it is.",
            "Resume it and shut it down, or revert it, then try again.",
        )),
        (state, Rollback) if !state.is_live() || state == MachineState::Running => Ok(()),
        (state, _) if state.is_live() => Err(("It is running.", "Stop it first.")),
        (_, Revert | Reset | Rollback | Grow) => Ok(()),
    }
}

impl Core {
    pub(super) fn machine_folder(&self, id: &str) -> MachineFolder {
        MachineFolder::new(self.home.machine(id))
    }

    /// The state of a machine as clients see it.
    fn state_now(&self, subscription: &Subscription) -> MachineState {
        self.show(subscription).state
    }

    fn check_allowed(&self, subscription: &Subscription, action: Action) -> Result<(), Problem> {
        allows(self.state_now(subscription), action).map_err(|(why, hint)| {
            let message = format!("“{}” cannot do that now. {why}", subscription.title);
            Problem::new(Code::Busy, message, hint)
        })
    }

    /// Answers what has to do with a machine's life; every answer shows the LivePC as it is then.
    pub(super) async fn answer_lifecycle(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        let (Request::Suspend { id }
        | Request::Revert { id }
        | Request::Reset { id }
        | Request::Keep { id, .. }
        | Request::SetPolicy { id, .. }
        | Request::Pin { id, .. }
        | Request::Rollback { id, .. }
        | Request::GrowDisk { id, .. }) = &request
        else {
            return Err(crate::server::misplaced());
        };
        let subscription = subscription::find(&self.database, id)?;
        match request {
            Request::Suspend { .. } => self.suspend_machine(&subscription).await?,
            Request::Revert { .. } => self.revert_machine(&subscription).await?,
            Request::Reset { .. } => self.reset_machine(&subscription).await?,
            Request::Keep { keep, .. } => {
                subscription::keep_changes(&self.database, &subscription.id, keep)?;
            }
            Request::SetPolicy { policy, .. } => {
                subscription::set_policy(&self.database, &subscription.id, policy)?;
            }
            Request::Pin { release, .. } => {
                if let Some(sequence) = release {
                    self.offered(&subscription, Some(sequence))?;
                }
                subscription::pin(&self.database, &subscription.id, release)?;
            }
            Request::Rollback { release, .. } => self.roll_back(&subscription, release).await?,
            Request::GrowDisk { disk, size, .. } => self.grow_disk(&subscription, disk, size).await?,
            _ => {}
        }
        self.touch();
        self.livepc(&subscription.id)
    }

    /// Saves a running machine's memory; returns when it has ended. One that is suspended already is left alone.
    async fn suspend_machine(self: &Arc<Self>, subscription: &Subscription) -> Result<(), Problem> {
        let id = &subscription.id;
        let client = {
            let _turn = self.machines.turns.of(id).lock_owned().await;
            let live = self.is_live(id).await?;
            if !live && self.machine_folder(id).suspension()?.is_some() {
                return Ok(());
            }
            self.check_allowed(subscription, Action::Suspend)?;
            self.machines.client(id)
        };
        let Some(client) = client else {
            return Err(Problem::new(Code::Busy, "The machine has just ended.", ""));
        };
        self.check_answers(id, &client).await?;
        match client.call(Request::RunnerSuspend).await {
            Ok(_) => {}
            // It has ended meanwhile.
            Err(problem) if problem.code == Code::AgentGone => {}
            Err(problem) => return Err(problem),
        }
        client.closed().await;
        self.runner_gone(id);
        if self.machine_folder(id).suspension()?.is_none() {
            return Err(Problem::new(
                Code::Failed,
                "The machine ended before it was suspended.",
                "Start it again.",
            ));
        }
        Ok(())
    }

    /// Gives up what a suspended machine had in memory.
    async fn revert_machine(self: &Arc<Self>, subscription: &Subscription) -> Result<(), Problem> {
        let _turn = self.machines.turns.of(&subscription.id).lock_owned().await;
        self.is_live(&subscription.id).await?;
        self.check_allowed(subscription, Action::Revert)?;
        self.machine_folder(&subscription.id).revert()?;
        self.machines.forget(&subscription.id);
        Ok(())
    }

    /// Gives up what was changed on the system disk.
    async fn reset_machine(self: &Arc<Self>, subscription: &Subscription) -> Result<(), Problem> {
        let _turn = self.machines.turns.of(&subscription.id).lock_owned().await;
        self.is_live(&subscription.id).await?;
        self.check_allowed(subscription, Action::Reset)?;
        self.machine_folder(&subscription.id).discard_overlays()
    }

    /// Makes an own disk of the machine larger. One that is not made yet is made so.
    async fn grow_disk(
        self: &Arc<Self>,
        subscription: &Subscription,
        role: String,
        size: u64,
    ) -> Result<(), Problem> {
        let _turn = self.machines.turns.of(&subscription.id).lock_owned().await;
        self.is_live(&subscription.id).await?;
        self.check_allowed(subscription, Action::Grow)?;
        let records = self.machine_folder(&subscription.id).records();
        let sequence = self.next_release(subscription, &records)?;
        let opened = self.open_release(subscription, Some(sequence)).await?;
        let folder = self.home.machine(&subscription.id);
        let Some((_, disk)) = opened.manifest.disk(&role) else {
            let own = |disk: &&Disk| matches!(disk.content, Content::User { .. });
            let roles = opened.manifest.disks.iter().filter(own);
            let roles: Vec<_> = roles.map(|disk| disk.role.as_str()).collect();
            return Err(not_found(
                format!(
                    "“{}” has no disk “{}”.",
                    subscription.title,
                    livepc_format::text::line(&role, 60)
                ),
                if roles.is_empty() {
                    "It has none that is your own: what is published cannot be made larger.".to_owned()
                } else {
                    format!("Your own are: {}.", roles.join(", "))
                },
            ));
        };
        UserDisk::of(&folder, disk)?;
        self.make_machine_folder(subscription)?;
        let disk = disk.clone();
        Self::blocking(move || UserDisk::of(&folder, &disk)?.grow(size, disk.size)).await?
    }

    /// Goes back to an earlier release that is here, and stays on it. A machine that runs or is suspended keeps its release
    /// until its next cold start.
    async fn roll_back(
        self: &Arc<Self>,
        subscription: &Subscription,
        release: Option<u64>,
    ) -> Result<(), Problem> {
        self.check_allowed(subscription, Action::Rollback)?;
        let records = self.machine_folder(&subscription.id).records();
        let now = self.next_release(subscription, &records)?;
        if let Some(kept) = kept_changes(subscription, &records)? {
            return Err(Problem::new(
                Code::Busy,
                format!("The changes on its system disk belong to release {kept}."),
                "Reset them first, which loses them: other releases cannot have them.",
            ));
        }
        let target = match release {
            Some(sequence) if sequence < now => Some(self.offered(subscription, Some(sequence))?),
            Some(_) => None,
            None => self.earlier_release(subscription, now),
        };
        let Some(target) = target else {
            return Err(not_found(
                format!("No release before {now} of “{}” is here.", subscription.title),
                format!("“livepc show {}” lists its releases.", subscription.id),
            ));
        };
        subscription::pin(&self.database, &subscription.id, Some(target))
    }

    /// The newest release before `sequence` that starts without the network, and that its publisher has not taken back.
    fn earlier_release(&self, subscription: &Subscription, sequence: u64) -> Option<u64> {
        let releases = subscription.head.releases.iter().map(|release| release.sequence);
        releases
            .filter(|earlier| *earlier < sequence && !subscription.is_yanked(*earlier))
            .filter(|earlier| self.local_of_release(subscription, *earlier).boot_ready)
            .max()
    }

    /// The release to go back to, if the one that the next start uses has failed again and again.
    pub(super) fn rollback_offer(&self, subscription: &Subscription, next: u64) -> Option<u64> {
        let failed = subscription.failed_release == Some(next) && subscription.failures >= FAILURES;
        failed.then(|| self.earlier_release(subscription, next)).flatten()
    }

    /// True if new releases are fetched without asking.
    pub(super) fn fetches_by_itself(&self, subscription: &Subscription) -> bool {
        subscription.policy == UpdatePolicy::Auto && subscription.pinned.is_none()
    }
}

/// The release that the changes belong to which the next cold start is to find again.
///
/// # Errors
/// If there are changes that are to be kept, and it cannot be read what they belong to.
pub(super) fn kept_changes(
    subscription: &Subscription,
    records: &MachineRecords,
) -> Result<Option<u64>, Problem> {
    if !subscription.keep_changes {
        return Ok(None);
    }
    Ok(records.changes.clone()?.map(|record| record.release))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table of states and actions, as the documentation for people has it.
    #[test]
    fn what_can_be_done_in_which_state() {
        use MachineState::{
            Absent, Failed, Preparing, Ready, Running, Stalled, Starting, Stopped, Stopping, Suspended,
        };
        let states = [
            Absent, Preparing, Ready, Starting, Running, Stalled, Suspended, Stopping, Stopped, Failed,
        ];
        let allowed = |action| {
            let can = |state: &MachineState| allows(*state, action).is_ok();
            states.iter().copied().filter(can).collect::<Vec<_>>()
        };
        assert_eq!(allowed(Action::Suspend), [Running]);
        assert_eq!(
            allowed(Action::Revert),
            [Absent, Preparing, Ready, Suspended, Stopped, Failed],
            "nothing to give up is no error"
        );
        assert_eq!(
            allowed(Action::Reset),
            [Absent, Preparing, Ready, Stopped, Failed],
            "the memory of a suspended machine belongs to its disk"
        );
        assert_eq!(
            allowed(Action::Rollback),
            [Absent, Preparing, Ready, Running, Suspended, Stopped, Failed],
            "it is for the next cold start"
        );
        assert_eq!(
            allowed(Action::Grow),
            [Absent, Preparing, Ready, Stopped, Failed],
            "a guest would not notice, and its memory knows the old size"
        );
        for state in states {
            for action in [
                Action::Suspend,
                Action::Revert,
                Action::Reset,
                Action::Rollback,
                Action::Grow,
            ] {
                if let Err((why, hint)) = allows(state, action) {
                    assert!(!why.is_empty() && !hint.is_empty(), "{state:?} {action:?}");
                }
            }
        }
    }
}
