//! No manifest makes a setting of VMware or an option of QEMU that is not in the closed set.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    livepc_hypervisor::closed_set::manifest(data);
});
