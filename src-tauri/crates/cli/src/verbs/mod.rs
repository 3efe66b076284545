//! The verbs, a file per subject.

pub(crate) mod catalog;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod download;
pub(crate) mod export;
pub(crate) mod key;
pub(crate) mod library;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod publish;
pub(crate) mod roles;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod subscribe;
