//! Who signs in to which server.

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "The server is asked for the address first: what it does not accept is not kept. The password is kept in the
system's keyring; where there is none, in a file that only you can read. It is sent to no other server, and only
over HTTPS or within this computer.

Examples:
  livepc login https://example.org/net-lab/feed.xml
  livepc login https://example.org/net-lab/feed.xml --user me --password-stdin < password
  livepc login --list"
)]
pub(crate) struct Login {
    /// An address that the server lets you have, best that of a feed
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    pub(crate) url: Option<String>,
    /// The user [default: asks]
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    pub(crate) user: Option<String>,
    /// Read the password from the first line of the standard input [default: asks]
    #[arg(long, requires = "user")]
    pub(crate) password_stdin: bool,
    /// List who is signed in where
    #[arg(long)]
    pub(crate) list: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  livepc logout https://example.org")]
pub(crate) struct Logout {
    /// The server, or an address on it
    pub(crate) url: String,
}
