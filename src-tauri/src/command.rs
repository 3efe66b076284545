//! The window's command to the agent: a request, passed on.

use livepc_protocol::{Answer, Code, Problem, Request};
use tauri::State;

use crate::agent::Agent;
use crate::border::answered;

/// Asks the agent for the window.
#[tauri::command]
pub(crate) async fn call(agent: State<'_, Agent>, request: Request) -> Result<Answer, Problem> {
    if !is_for_windows(&request) {
        return Err(Problem::new(Code::Usage, "This request is not for windows.", ""));
    }
    answered(agent.call(request)).await
}

/// False for what only runners and the agent itself say.
fn is_for_windows(request: &Request) -> bool {
    !matches!(
        request,
        Request::Watch
            | Request::OpenRelease { .. }
            | Request::Fetch { .. }
            | Request::Object { .. }
            | Request::RunnerReport { .. }
            | Request::RunnerStatus
            | Request::RunnerStop { .. }
            | Request::RunnerSuspend
            | Request::RunnerRetry
            | Request::AgentStop
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_cannot_speak_for_a_runner() {
        assert!(is_for_windows(&Request::list()));
        assert!(!is_for_windows(&Request::RunnerStatus));
        assert!(!is_for_windows(&Request::RunnerSuspend));
        assert!(!is_for_windows(&Request::AgentStop));
    }
}
