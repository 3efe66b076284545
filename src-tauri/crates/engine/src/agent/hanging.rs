//! Runners that are there and do not answer: stopped by a signal, or stuck in a disk that does not answer.

use std::sync::Arc;
use std::time::Duration;

use livepc_protocol::{Client, Code, Problem, ProcessLock, Request};

use super::core::Core;
use super::machines::AGAIN;

/// A runner has little to do to say how it is: one that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(15);
/// The longest that the end of a process takes.
const END: Duration = Duration::from_secs(10);

impl Core {
    /// Makes sure that a runner answers, before it is asked for what may take long.
    pub(super) async fn check_answers(&self, id: &str, client: &Client) -> Result<(), Problem> {
        match tokio::time::timeout(ANSWER, client.call(Request::RunnerStatus)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.hangs(id)),
        }
    }

    /// Ends the process of a runner that is there and does not answer. False if there is none.
    pub(super) async fn end_hanging_runner(self: &Arc<Self>, id: &str) -> Result<bool, Problem> {
        let lock = self.home.runner_lock(id);
        if !ProcessLock::is_held(&lock)? {
            return Ok(false);
        }
        let runner = self.home.runner_whereabouts(id);
        let asked = async {
            let client = Client::connect(&runner, "agent", false).await?;
            client.call(Request::RunnerStatus).await.map(drop)
        };
        if tokio::time::timeout(ANSWER, asked).await.is_ok() {
            // It answers, or does not listen yet or any more.
            return Ok(false);
        }
        if !ProcessLock::is_held(&lock)? {
            return Ok(false);
        }
        tracing::warn!(id, "the runner does not answer: it is ended");
        runner
            .end_process()
            .await
            .map_err(|e| Problem::io(&format!("{} It cannot be ended", self.hangs(id).message), &e))?;
        let ended = async {
            // The end of a process that is not a child of ours makes no event that every system has.
            while ProcessLock::is_held(&lock)? {
                tokio::time::sleep(AGAIN).await;
            }
            Ok(())
        };
        tokio::time::timeout(END, ended).await.map_err(|_| {
            Problem::new(
                Code::Busy,
                format!("The runner of “{id}” was ended, and is still there: the system waits for a disk that it uses."),
                "Look at that disk or network folder; if it cannot be brought back, restart the computer.",
            )
        })??;
        if let Some(client) = self.machines.client(id) {
            client.closed().await;
            self.runner_gone(id);
        }
        // What it left has ended, too, when this returns.
        let _turn = self.machines.turns.of(id).lock_owned().await;
        if self.machines.client(id).is_none() {
            crate::runner::reap(&self.home, id).await?;
            self.machines.stopped(id);
            self.machines_changed();
        }
        Ok(true)
    }

    pub(super) fn hangs(&self, id: &str) -> Problem {
        let who = self.home.runner_whereabouts(id).of_whom();
        let who = who.map_or_else(String::new, |who| format!(" ({who})"));
        Problem::new(
            Code::Busy,
            format!(
                "The runner of “{id}”{who} has not answered within {} seconds: it, or a disk that it uses, hangs.",
                ANSWER.as_secs()
            ),
            format!("“livepc stop {id} --force” ends it, and its machine as a power cut would."),
        )
    }
}
