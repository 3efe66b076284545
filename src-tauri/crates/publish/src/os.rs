//! What differs between operating systems: reading at a position, holes, and who may read a new file.

#[cfg_attr(unix, path = "os/unix.rs")]
#[cfg_attr(windows, path = "os/windows.rs")]
mod system;

pub(crate) use system::{is_disk_device, is_exposed, next_data, next_hole, public_file, read_as, read_at};
