//! A host of its own: a network namespace behind a line of a given rate. Making one takes root.

use std::process::Command;
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_os = "linux")]
use crate::line::{Line, Speed};

static COUNT: AtomicU8 = AtomicU8::new(0);

/// A network namespace that this one reaches over a slow line. It is removed when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    subnet: String,
    address: String,
}

impl Namespace {
    /// Makes a namespace whose answers come at `mbit` Mbit/s.
    #[must_use]
    pub fn behind(mbit: u32) -> Self {
        let (namespace, n) = Self::new(213);
        let (near, far) = (format!("lpcn{n}"), format!("lpcf{n}"));
        // What a killed run left.
        let _ = Command::new("ip").args(["link", "del", &near]).output();
        let name = &namespace.name;
        run(&format!(
            "ip link add {near} type veth peer name {far} netns {name}"
        ));
        namespace.connect(&near, &far);
        // The queue holds 50 ms.
        namespace.inside(&format!(
            "tc qdisc add dev {far} root tbf rate {mbit}mbit burst 64kb latency 50ms"
        ));
        namespace
    }

    /// Makes a namespace at the far end of a line; gives the line too.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn at_end_of_line(speed: Speed) -> (Self, Arc<Line>) {
        let (namespace, n) = Self::new(214);
        let (near, far) = (format!("lpln{n}"), format!("lplf{n}"));
        let line = Line::between(&near, &far, speed).expect("two TUN devices (this takes root)");
        run(&format!("ip link set {far} netns {}", namespace.name));
        namespace.connect(&near, &far);
        (namespace, Arc::new(line))
    }

    /// An empty namespace for a net of its own in 10.`block`, and which one of this process it is.
    fn new(block: u8) -> (Self, u8) {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self {
            name: format!("lpc{}-{n}", std::process::id()),
            subnet: format!("10.{block}.{n}"),
            address: format!("10.{block}.{n}.2"),
        };
        run(&format!("ip netns add {}", namespace.name));
        (namespace, n)
    }

    /// Gives addresses to a device here and the one inside that it leads to.
    fn connect(&self, near: &str, far: &str) {
        let subnet = &self.subnet;
        run(&format!("ip addr add {subnet}.1/30 dev {near}"));
        run(&format!("ip link set {near} up"));
        self.inside(&format!("ip addr add {subnet}.2/30 dev {far}"));
        self.inside(&format!("ip link set {far} up"));
        self.inside("ip link set lo up");
    }

    fn inside(&self, line: &str) {
        run(&format!("nsenter {} {line}", self.entrance()));
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&self.entrance(), program]);
        command
    }

    /// Unlike `ip netns exec`, this leaves the mounts alone, which works in a chroot too.
    fn entrance(&self) -> String {
        format!("--net=/run/netns/{}", self.name)
    }
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .expect("iproute2 is installed");
    assert!(
        done.status.success(),
        "{line}: {} (this takes root)",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
