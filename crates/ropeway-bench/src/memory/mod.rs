//! Two ends of one stack, joined by queues on one thread.
use std::io;

use crate::Common;
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings { #[command(flatten)] common: Common }
pub(crate) fn run(_: &Settings) -> io::Result<()> { Ok(()) }
