//! What the examples share, so that each of them stays short enough to be read aloud.

pub mod capture;
pub mod link;
pub mod namespace;
pub mod recorder;
pub mod report;
pub mod site;
