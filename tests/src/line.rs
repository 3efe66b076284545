//! A line that is as slow and as far as an ordinary one: two ends, packets of which travel at a given rate and arrive after a
//! given time. It is made of two TUN devices, because the kernels of test machines seldom have `netem`.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tun_rs::{DeviceBuilder, SyncDevice};

/// What waits to be sent is at most what the line sends in this time: a longer queue would hide losses, a shorter one make
/// them.
const QUEUE: Duration = Duration::from_millis(100);
/// Bytes of a packet at the most. At a gigabit, short ones would cost more time here than in what is measured.
const MTU: usize = 1500;
const MTU_FAST: usize = 9000;
/// From this rate on.
const FAST: u32 = 1000;

/// How fast a line is, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Megabits a second, in each direction.
    pub mbit: u32,
    /// The time to the other end and back.
    pub round_trip: Duration,
}

/// The two ends of a line, by the names of their devices. It goes on until one of the devices is removed.
#[derive(Debug)]
pub struct Line {
    received: Arc<AtomicU64>,
}

impl Line {
    /// Makes the devices `near` and `far`, and lets packets through. Takes root.
    ///
    /// # Errors
    /// What keeps the devices from being made.
    pub fn between(near: &str, far: &str, speed: Speed) -> io::Result<Self> {
        let mtu = if speed.mbit >= FAST { MTU_FAST } else { MTU };
        let make = |name: &str| {
            let device = DeviceBuilder::new().name(name).mtu(mtu as u16).build_sync();
            device.map(Arc::new)
        };
        let (near, far) = (make(near)?, make(far)?);
        let received = Arc::new(AtomicU64::new(0));
        carry(&near, &far, speed, mtu, Arc::default());
        carry(&far, &near, speed, mtu, received.clone());
        Ok(Self { received })
    }

    /// Bytes of the packets that arrived at the near end so far, with their headers.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Packets on their way, and when each arrives.
#[derive(Default)]
struct Travelling {
    packets: Mutex<Packets>,
    changed: Condvar,
}

#[derive(Default)]
struct Packets {
    queue: VecDeque<(Instant, Vec<u8>)>,
    ended: bool,
}

/// Carries packets in one direction.
fn carry(from: &Arc<SyncDevice>, to: &Arc<SyncDevice>, speed: Speed, mtu: usize, count: Arc<AtomicU64>) {
    let travelling = Arc::new(Travelling::default());
    let (from, to) = (from.clone(), to.clone());
    let sent = travelling.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; mtu];
        let mut free = Instant::now();
        // A device that was removed has no more packets.
        while let Ok(len) = from.recv(&mut buffer) {
            let now = Instant::now();
            let begin = free.max(now);
            // As a router does with what it has no room for.
            if begin > now + QUEUE {
                continue;
            }
            free = begin + Duration::from_secs_f64(len as f64 * 8.0 / (f64::from(speed.mbit) * 1e6));
            let packet = (free + speed.round_trip / 2, buffer[..len].to_vec());
            let mut packets = sent.packets.lock().unwrap_or_else(PoisonError::into_inner);
            packets.queue.push_back(packet);
            sent.changed.notify_one();
        }
        sent.packets.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        sent.changed.notify_one();
    });
    thread::spawn(move || {
        while let Some((at, packet)) = travelling.next() {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            count.fetch_add(packet.len() as u64, Ordering::Relaxed);
            // A device that is not up yet, or no more, loses it.
            let _ = to.send(&packet);
        }
    });
}

impl Travelling {
    /// The next packet; nothing when there will be none.
    fn next(&self) -> Option<(Instant, Vec<u8>)> {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(packet) = packets.queue.pop_front() {
                return Some(packet);
            }
            if packets.ended {
                return None;
            }
            packets = self.changed.wait(packets).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::namespace::Namespace;
    use crate::nginx::Nginx;

    #[test]
    #[ignore = "takes root and TUN devices"]
    fn it_is_as_slow_and_as_far_as_it_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("file"), vec![7; 2_500_000]).expect("a file");
        let speed = Speed {
            mbit: 20,
            round_trip: Duration::from_millis(20),
        };
        let (far, line) = Namespace::at_end_of_line(speed);
        let server = Nginx::serve_in(folder.path(), &far);
        let address = format!("{}:8080", far.address());
        let begun = Instant::now();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let connected = begun.elapsed();
        write!(stream, "GET /file HTTP/1.0\r\n\r\n").expect("the far end takes it");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the far end sends");
        let took = begun.elapsed().as_secs_f64();
        drop(server);
        assert!(all.len() > 2_500_000);
        assert!(
            connected >= Duration::from_millis(20),
            "it is too near: {connected:?}"
        );
        assert!(took >= 1.0, "20 megabits take a second, not {took} s");
        assert!(line.received() > 2_500_000);
    }
}
