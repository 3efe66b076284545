//! Support for the end-to-end suites: the real program on a throw-away home, real servers, a real guest.
//!
//! The suites run on Unix; what the demo and other crates' tests need of this works everywhere.
//!
//! ```no_run
//! # #[cfg(unix)] {
//! use livepc_tests::{guest, home::TestHome, nginx::Nginx, publisher::Publisher};
//!
//! let publisher = Publisher::new(&guest::disk(1), "Sample");
//! publisher.publish(&[]);
//! let server = Nginx::serve(&publisher.site());
//! let home = TestHome::new();
//! home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
//! home.done(&["download", "sample"]);
//! # }
//! ```

pub mod authority;
#[cfg(unix)]
pub mod bus;
#[cfg(unix)]
pub mod clock;
#[cfg(unix)]
pub mod display;
pub mod forge;
pub mod guest;
pub mod home;
#[cfg(unix)]
pub mod keyring;
pub mod lab;
#[cfg(target_os = "linux")]
pub mod line;
#[cfg(unix)]
pub mod namespace;
#[cfg(unix)]
pub mod network_manager;
#[cfg(unix)]
pub mod nginx;
pub mod odd;
pub mod older_agent;
pub mod origin;
#[cfg(unix)]
pub mod powered;
pub mod presence;
pub mod publisher;
pub mod socks;
#[cfg(unix)]
pub mod standin;
#[cfg(unix)]
pub mod tray;
#[cfg(target_os = "linux")]
pub mod volume;
#[cfg(unix)]
pub mod webdriver;
