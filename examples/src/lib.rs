//! What the examples share, so that each of them stays short enough to be read aloud.

pub mod capture;
pub mod crossings;
pub mod ladder;
pub mod link;
pub mod namespace;
pub mod observer;
pub mod recorder;
pub mod report;
pub mod site;
