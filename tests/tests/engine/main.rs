//! The product without its face: the real `livepc` program, real servers, a real guest.
#![cfg(unix)]

mod bad_input;
mod block_map;
mod clock;
mod crowd;
mod cut;
#[cfg(target_os = "linux")]
mod doctor;
mod elsewhere;
mod export;
mod feeds;
mod full_disk;
mod gone;
mod home;
mod https;
mod images;
mod json;
mod kill;
mod kills;
mod lifecycle;
mod login;
mod machine;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(target_os = "linux")]
mod odd_media;
mod odd_servers;
mod own_start;
mod peers;
#[cfg(target_os = "linux")]
mod power;
mod power_any_moment;
mod publisher;
#[cfg(target_os = "linux")]
mod reflink;
mod releases;
mod session_end;
mod store;
mod store_move;
mod subscribe;
mod trust;
mod updates;
mod user_data;
mod user_disk;
#[cfg(target_os = "linux")]
mod vmware;
