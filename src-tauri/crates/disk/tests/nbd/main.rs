//! The NBD server against the tools that people use, and against clients that mean it no good.

mod client;
mod device;
mod peers;
mod property;
mod protocol;
mod transport;
