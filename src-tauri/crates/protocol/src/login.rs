//! Who is known to which server, as it crosses a process boundary.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Text that is never shown: `{:?}` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(as = "String")]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who is known to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct LoginInfo {
    /// The server, as `https://example.org`.
    pub server: String,
    /// The user.
    pub user: String,
    /// The file that has the password, where there is no keyring to keep it.
    pub file: Option<String>,
}
