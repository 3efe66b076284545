//! The end of the session that this process is part of: the computer shuts down, its user logs out, or whoever started the
//! process's service stops it. Every process is told at once then, and ended by force when it is still there some time later.
//!
//! Whether a log-out is such an end, the system decides: most let machines run on, some end all that a user has (systemd does
//! with `KillUserProcesses=yes`, unless `loginctl enable-linger` says otherwise). Whoever starts a machine by a service of
//! systemd's own needs `KillMode=process` or `RemainAfterExit=yes` there, since the machine is a part of the service.

#[cfg(unix)]
#[path = "session_end/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "session_end/windows.rs"]
mod system;

use std::time::Duration;

use livepc_protocol::{Code, Problem};

/// How long what has to be put in order may take altogether. systemd gives a session 90 seconds, and others a minute.
pub(crate) const IN_ORDER: Duration = Duration::from_secs(55);

/// Hears of the end of the session. While it lives, the end of the session does not end this process.
pub(crate) struct SessionEnd(system::SessionEnd);

impl SessionEnd {
    /// Listens from now on.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub(crate) fn listen() -> Result<Self, Problem> {
        system::SessionEnd::listen()
            .map(Self)
            .map_err(|e| Problem::io("The end of the session cannot be noticed", &e))
    }

    /// Returns when the session ends. Cancel-safe.
    pub(crate) async fn told(&mut self) {
        self.0.told().await;
    }
}

/// Returns when this program is asked to end: by Ctrl-C, by a terminal that is closed, or with the session. From then on
/// nothing of that ends it by force.
///
/// # Errors
/// What the operating system refuses.
pub async fn asked_to_end() -> std::io::Result<()> {
    system::asked_to_end().await
}

/// What is told of a machine that ended with the session: nobody's failure.
pub(crate) fn problem(what: &str) -> Problem {
    Problem::new(
        Code::Cancelled,
        format!("Ended by the system, which was shutting down or ending the session: {what}."),
        "Start the machine when you want it again.",
    )
    .of_this_computer()
}

/// True if a machine ended with the session.
pub(crate) fn is_of_it(problem: &Problem) -> bool {
    problem.code == Code::Cancelled && problem.of_this_computer
}
