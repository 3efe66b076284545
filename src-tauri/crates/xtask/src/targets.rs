//! The workspace's test targets, as cargo lists them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

/// The crate whose test targets are the end-to-end suites.
const END_TO_END: &str = "livepc-tests";

/// The names of integration test targets, each in cargo's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestTargets {
    /// Those of every crate but the end-to-end one: they need nothing but the workspace.
    pub(crate) integration: Vec<String>,
    /// The end-to-end suites: they need the built binaries, the sample guest and system packages.
    pub(crate) end_to_end: Vec<String>,
}

impl TestTargets {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails or its answer has another shape than documented.
    pub(crate) fn of(workspace: &Workspace) -> Result<Self> {
        let answer =
            process::output(
                workspace
                    .cargo()
                    .args(["metadata", "--no-deps", "--format-version", "1"]),
            )?;
        let metadata: Value = serde_json::from_str(&answer).context("`cargo metadata` printed no JSON")?;
        Self::from_metadata(&metadata).context("`cargo metadata` has an unknown shape")
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let mut found = Self::default();
        for package in metadata["packages"].as_array()? {
            let list = if package["name"] == END_TO_END {
                &mut found.end_to_end
            } else {
                &mut found.integration
            };
            for target in package["targets"].as_array()? {
                if target["kind"].as_array()?.iter().any(|kind| kind == "test") {
                    list.push(target["name"].as_str()?.to_owned());
                }
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn end_to_end_suites_are_kept_apart() {
        let metadata = json!({"packages": [
            {"name": "livepc-format", "targets": [
                {"kind": ["lib"], "name": "livepc_format"},
                {"kind": ["test"], "name": "golden"}]},
            {"name": "livepc-tests", "targets": [
                {"kind": ["lib"], "name": "livepc_tests"},
                {"kind": ["test"], "name": "cli"}]},
        ]});
        let expected = TestTargets {
            integration: vec!["golden".to_owned()],
            end_to_end: vec!["cli".to_owned()],
        };
        assert_eq!(
            TestTargets::from_metadata(&metadata),
            Some(expected),
            "the end-to-end suites need what the unit stage has not prepared"
        );
    }

    #[test]
    fn an_unknown_shape_is_no_empty_list() {
        assert_eq!(
            TestTargets::from_metadata(&json!({"packages": 1})),
            None,
            "an empty list would let the tests pass without running one"
        );
    }
}
