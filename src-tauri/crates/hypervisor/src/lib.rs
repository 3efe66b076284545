//! LivePC hypervisor.
