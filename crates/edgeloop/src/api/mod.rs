//! What users see but for the loop itself: what they write, are given, and are told.

pub(crate) mod action;
pub(crate) mod address;
pub(crate) mod bounds;
pub(crate) mod closed;
pub(crate) mod config;
pub(crate) mod context;
#[cfg(feature = "udp")]
pub(crate) mod datagram;
pub(crate) mod error;
pub(crate) mod handler;
pub(crate) mod id;
pub(crate) mod input;
pub(crate) mod listening;
pub(crate) mod metrics;
pub(crate) mod notice;
pub(crate) mod place;
pub(crate) mod receive;
pub(crate) mod target;
pub(crate) mod time;
