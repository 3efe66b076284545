//! Every order in which threads can get at a pack's writer, by loom. What loom need not know of is the system's own: each of
//! its atomics and counts multiplies the orders.

use std::sync::Arc;

use crate::slots::Slots;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// Nobody writes to a pack while another does, although packs that nobody writes to are forgotten all the time.
#[test]
fn a_pack_has_one_writer_whoever_else_comes_and_goes() {
    loom::model(|| {
        let slots = Arc::new(Slots::<u8, ()>::new(1));
        let is_written = Arc::new(AtomicBool::new(false));
        let write = |pack: u8| {
            let (slots, is_written) = (slots.clone(), is_written.clone());
            move || {
                let slot = slots.of(pack);
                let _written = slot.lock().unwrap();
                if pack == 0 {
                    assert!(!is_written.swap(true, Ordering::AcqRel), "two write to one pack");
                    is_written.store(false, Ordering::Release);
                }
            }
        };
        let others = [thread::spawn(write(0)), thread::spawn(write(1))];
        write(0)();
        for other in others {
            other.join().unwrap();
        }
    });
}
