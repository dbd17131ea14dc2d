//! Verdicts against simulations, where the truth is known: what was lost, what the sender's timers did, and who waited for
//! whom. Each run is captured at the client, between the ends, and at the server.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that fails should say so
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // numbers of these runs are small

mod limits;
mod score;
mod truth;
mod wireshark;
mod world;
