//! The command line.

pub(crate) mod export;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod publisher;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use self::export::Export;
use self::login::{Login, Logout};
use self::machine::{Runner, Start};
use self::publisher::{CatalogVerb, KeyVerb, ProjectVerb, Publish};

/// Subscribe to virtual machines, start them while they stream in, and publish your own.
#[derive(Debug, Parser)]
#[command(
    name = "livepc",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  livepc source add https://example.org/catalog.xml
  livepc search debian
  livepc subscribe https://example.org/net-lab/feed.xml
  livepc start net-lab

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused for trust, 5 network, 6 disk full,
7 hypervisor missing or failed, 8 a server asks for a user and a password, 130 interrupted.")]
pub(crate) struct Args {
    /// The folder that has everything of LivePC's [default: the user's folder for application data]
    #[arg(
        long,
        global = true,
        env = "LIVEPC_HOME",
        hide_env_values = true,
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        value_name = "DIR"
    )]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON object; progress and errors are JSON lines on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more about what happens
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make and show the keys that sign what you publish
    #[command(after_help = "Examples:
  livepc key new
  livepc key rotate
  LIVEPC_KEY_PASSWORD_FILE=~/.livepc-password livepc publish net-lab --to /srv/www/net-lab")]
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Describe a machine that you want to publish
    Project {
        #[command(subcommand)]
        verb: ProjectVerb,
    },
    /// Pack a project's disks and publish them as a release
    Publish(Publish),
    /// Edit a catalog: a feed that lists LivePCs
    #[command(after_help = "Examples:
  livepc catalog init /srv/www/catalog.xml --title \"Our labs\"
  livepc catalog add /srv/www/catalog.xml --feed https://example.org/net-lab/feed.xml")]
    Catalog {
        #[command(subcommand)]
        verb: CatalogVerb,
    },
    /// Choose which catalogs and feeds the Library shows
    #[command(after_help = "Example:
  livepc source add https://example.org/catalog.xml")]
    Source {
        #[command(subcommand)]
        verb: SourceVerb,
    },
    /// Search the Library
    #[command(after_help = "Example:
  livepc search debian router")]
    Search {
        /// Words that must be there; nothing lists all
        text: Option<String>,
    },
    /// Subscribe to a LivePC, after you confirmed its publisher's key
    #[command(after_help = "Example:
  livepc subscribe https://example.org/net-lab/feed.xml --fingerprint \"1a2b 3c4d …\"")]
    Subscribe {
        /// The address of its feed
        feed_url: String,
        /// Trust the key that the server shows, without asking
        #[arg(long, conflicts_with = "fingerprint")]
        yes: bool,
        /// Go on only if the publisher's key has this fingerprint
        #[arg(long, value_name = "FP")]
        fingerprint: Option<String>,
    },
    /// Sign in to a server that asks for a user and a password
    Login(Login),
    /// Sign out of a server
    Logout(Logout),
    /// End a subscription
    #[command(after_help = "Example:
  livepc unsubscribe net-lab --keep-data")]
    Unsubscribe {
        /// The LivePC
        id: String,
        /// Keep the machine's own disks
        #[arg(long, conflicts_with = "delete_data")]
        keep_data: bool,
        /// Delete the machine's own disks too
        #[arg(long)]
        delete_data: bool,
    },
    /// List the subscriptions
    #[command(after_help = "Example:
  livepc list --json | jq -r '.livepcs[].id'")]
    List,
    /// Show a subscription and its releases
    #[command(after_help = "Example:
  livepc show net-lab")]
    Show {
        /// The LivePC
        id: String,
    },
    /// Show what runs
    #[command(after_help = "Example:
  livepc status")]
    Status {
        /// The LivePC; all if not given
        id: Option<String>,
    },
    /// Fetch a release
    #[command(after_help = "Examples:
  livepc download net-lab --until boot-ready
  livepc download net-lab --release 3")]
    Download {
        /// The LivePC
        id: String,
        /// How far
        #[arg(long, default_value = "complete")]
        until: Until,
        /// The release [default: the newest accepted one]
        #[arg(long, value_name = "N")]
        release: Option<u64>,
    },
    /// Look for new releases, and fetch them as far as the current one is here
    #[command(after_help = "Examples:
  livepc update
  livepc update net-lab --check")]
    Update {
        /// The LivePC; all if not given
        id: Option<String>,
        /// Only look
        #[arg(long)]
        check: bool,
    },
    /// Check all that is here against what was published
    #[command(after_help = "Examples:
  livepc verify net-lab
  livepc verify --repair")]
    Verify {
        /// The LivePC; all if not given
        id: Option<String>,
        /// Fetch again what is damaged
        #[arg(long)]
        repair: bool,
    },
    /// Remove from the disk what no subscription needs, and say what that is
    #[command(
        after_help = "Releases that later ones have replaced go by themselves: one that has run once two later ones
have run, one that nobody ran once a later one is here. Those in use stay, and older ones that
you fetched by their number. One that was still read when it was replaced, and what a crash has
left behind, go when the background process starts next, or at once with this.

Example:
  livepc prune --dry-run"
    )]
    Prune {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Also remove older releases that you fetched by their number
        #[arg(long)]
        wanted: bool,
    },
    /// Pause all downloads, until “livepc pause --off”; running machines still get what they read
    Pause {
        /// Let them go on
        #[arg(long)]
        off: bool,
    },
    /// Choose where what is fetched is kept
    Store {
        #[command(subcommand)]
        verb: StoreVerb,
    },
    /// Start a machine; returns when its guest executes
    Start(Start),
    /// Shut a machine down; returns when it has ended
    #[command(after_help = "Example:
  livepc stop net-lab --timeout 120")]
    Stop {
        /// The LivePC
        id: String,
        /// Switch it off without asking the guest
        #[arg(long)]
        force: bool,
        /// Seconds that the guest may take
        #[arg(long, value_name = "S", default_value_t = 60)]
        timeout: u64,
    },
    /// Save a running machine's memory and end it; the next start goes on from there
    #[command(after_help = "Example:
  livepc suspend net-lab && livepc start net-lab")]
    Suspend {
        /// The LivePC
        id: String,
    },
    /// Give up what a suspended machine has in memory: the next start is a cold one
    #[command(after_help = "Example:
  livepc revert net-lab --yes")]
    Revert {
        /// The LivePC
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Give up what was changed on the system disk
    #[command(after_help = "Example:
  livepc reset net-lab --yes")]
    Reset {
        /// The LivePC
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Keep changes of the system disk from one start to the next; the machine stays on its release then
    #[command(after_help = "Examples:
  livepc keep net-lab
  livepc keep net-lab --off")]
    Keep {
        /// The LivePC
        id: String,
        /// Begin with a clean system disk again at the next start
        #[arg(long)]
        off: bool,
        /// Do not ask before changes are lost
        #[arg(long, requires = "off")]
        yes: bool,
    },
    /// Go back to an earlier release that is still here, and stay on it
    #[command(after_help = "Examples:
  livepc rollback net-lab
  livepc rollback net-lab --release 3")]
    Rollback {
        /// The LivePC
        id: String,
        /// The release [default: the one before]
        #[arg(long, value_name = "N")]
        release: Option<u64>,
    },
    /// Choose which release cold starts use, and what happens when there is a new one
    #[command(after_help = "Examples:
  livepc pin net-lab --release 3
  livepc pin net-lab --newest
  livepc pin net-lab --updates notify")]
    Pin {
        /// The LivePC
        id: String,
        /// Stay on this release
        #[arg(long, value_name = "N", conflicts_with = "newest")]
        release: Option<u64>,
        /// Follow the newest release again
        #[arg(long)]
        newest: bool,
        /// Fetch new releases in the background, or only tell of them
        #[arg(long, value_name = "POLICY")]
        updates: Option<Updates>,
    },
    /// Make a machine's own disk larger; the guest's file system on it grows with the guest's own tools
    #[command(after_help = "Examples:
  livepc grow net-lab --size 20G
  livepc grow net-lab --size 512M --disk data")]
    Grow {
        /// The LivePC
        id: String,
        /// How large it is from then on: bytes, or a number with K, M, G or T (of 1024)
        #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
        size: u64,
        /// Which disk
        #[arg(long, value_name = "ROLE", default_value = "user")]
        disk: String,
    },
    /// Serve a release's disk over NBD or as files, fetching what is read; prints "ready SOCKET" or "ready DIR" once it
    /// can be read
    #[command(
        group = clap::ArgGroup::new("place").required(true),
        after_help = "Examples:
  livepc serve net-lab --nbd /tmp/net-lab.sock &
  qemu-img info 'nbd+unix:///?socket=/tmp/net-lab.sock'
  livepc serve net-lab --mount /tmp/net-lab &
  qemu-img info /tmp/net-lab/disk.vmdk"
    )]
    Serve {
        /// The LivePC
        id: String,
        /// The socket to listen on
        #[arg(long, value_name = "SOCKET", group = "place")]
        nbd: Option<PathBuf>,
        /// The empty folder to show the disk in, as disk.vmdk and disk-flat.vmdk; made if it is not there [Linux only]
        #[arg(long, value_name = "DIR", group = "place")]
        mount: Option<PathBuf>,
        /// Fetch the rest in the background
        #[arg(long)]
        fill: bool,
        /// The release [default: the newest accepted one]
        #[arg(long, value_name = "N")]
        release: Option<u64>,
        /// Which disk
        #[arg(long, value_name = "ROLE", default_value = "system")]
        disk: String,
    },
    /// Write a release, or the machine with its changes, as disk images or for VMware
    Export(Export),
    /// Show what works here and what does not
    #[command(after_help = "Example:
  livepc doctor")]
    Doctor,
    /// Show the logs
    #[command(after_help = "Example:
  livepc logs net-lab")]
    Logs {
        /// Those of a LivePC's machine; the agent's if not given
        id: Option<String>,
    },
    /// Read and change settings
    #[command(after_help = "Examples:
  livepc config get
  livepc config set download.max-bytes-per-second 2000000")]
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Print a shell's completion script
    #[command(after_help = "Example:
  livepc completions bash > ~/.local/share/bash-completion/completions/livepc")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The background process: it starts when it is needed, and ends when nobody needs it any more
    #[command(after_help = "Example:
  livepc agent stop")]
    Agent {
        #[command(subcommand)]
        verb: Option<AgentVerb>,
    },
    /// The process of a running machine; started by the agent
    #[command(hide = true)]
    Runner(Runner),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourceVerb {
    /// Add a catalog or a feed
    Add {
        /// Its address
        url: String,
    },
    /// List them
    List,
    /// Remove one
    Remove {
        /// Its address
        url: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print a setting, or all
    Get {
        /// Its name
        name: Option<String>,
    },
    /// Change a setting
    Set {
        /// Its name
        name: String,
        /// Its value
        value: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Move the store to another folder or drive; no machine, download or app may be running
    #[command(after_help = "Example:
  livepc store move /mnt/large/livepc")]
    Move {
        /// The folder that becomes the store: an empty one, or one that is not there yet
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// End it, if it has neither work nor machines
    Stop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Until {
    /// All that a start reads
    BootReady,
    /// All
    Complete,
}

impl From<Until> for livepc_protocol::Until {
    fn from(until: Until) -> Self {
        match until {
            Until::BootReady => Self::BootReady,
            Until::Complete => Self::Complete,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Updates {
    /// Fetch new releases in the background; the next cold start uses them
    Auto,
    /// Only tell of them
    Notify,
}

impl From<Updates> for livepc_protocol::UpdatePolicy {
    fn from(updates: Updates) -> Self {
        match updates {
            Updates::Auto => Self::Auto,
            Updates::Notify => Self::Notify,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};
    use clap_complete::Shell;

    use super::Args;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    /// The help of a command and of those below it.
    fn helps(command: &mut Command, name: &str, all: &mut String) {
        all.push_str(&format!("$ {name} --help\n{}\n", command.render_long_help()));
        let verbs = command.get_subcommands_mut();
        for verb in verbs.filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
            let name = format!("{name} {}", verb.get_name());
            helps(verb, &name, all);
        }
    }

    #[test]
    fn every_verb_explains_itself() {
        let mut command = Args::command().term_width(100).version("0.0.0");
        command.build();
        let mut all = String::new();
        helps(&mut command, "livepc", &mut all);
        insta::assert_snapshot!(all);
    }

    #[test]
    fn shells_complete_every_verb() {
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Elvish,
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "livepc", &mut script);
            let script = String::from_utf8(script).expect("a script is text");
            for verb in Args::command()
                .get_subcommands()
                .filter(|verb| !verb.is_hide_set())
            {
                let name = verb.get_name();
                assert!(script.contains(name), "{shell} does not know {name}");
            }
        }
    }
}
