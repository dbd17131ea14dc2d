//! What the examples share, so that each of them stays short enough to be read aloud.

pub mod capture;
#[cfg(target_os = "linux")]
pub mod guest;
pub mod link;
#[cfg(target_os = "linux")]
pub mod namespace;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
pub mod namespace;
pub mod recorder;
pub mod report;
pub mod site;
pub mod wireguard;
