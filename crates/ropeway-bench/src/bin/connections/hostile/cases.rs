//! What attackers do, and slow programs.

use std::io;

use clap::ValueEnum;
use ropeway_core::{SendFlags, SocketOptions};
use serde::{Deserialize, Serialize};

use super::attackers::{Attacker, MSS};
use super::world::World;

/// Segments that an attacker sends in its turn at most.
const BURST: u32 = 16;
/// Gaps that one leaves.
const GAPS: u32 = 1000;
/// Gaps that one leaves in a second, once it has left all of them.
const MORE_GAPS: u32 = 10;
/// What a slow reader reads in a second.
const SIP: usize = 4096;
/// What a server has for whoever does not take it.
const UNSENT: usize = 4 << 20;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(super) enum Case {
    /// Each sends one byte, which nobody reads.
    OneByte,
    /// Each sends all that its window allows, and nobody reads it.
    NeverRead,
    /// Each advertises a window of zero; the server has 4 MiB for it, in a send buffer as large.
    ZeroWindow,
    /// Each sends a byte a second, which is read at once.
    Trickle,
    /// Each sends single bytes with a gap before each, a thousand of them.
    Gaps,
    /// Each sends all that its window allows, of which 4 KiB a second are read. A tenth as many.
    SlowReaders,
}

impl Case {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How many of so many attackers it has.
    pub(super) fn attackers(self, all: u32) -> u32 {
        if self == Self::SlowReaders { all.div_ceil(10) } else { all }
    }

    pub(super) fn window(self) -> u16 {
        if self == Self::ZeroWindow { 0 } else { u16::MAX }
    }

    pub(super) fn options(self) -> SocketOptions {
        let mut options = SocketOptions::default();
        if self == Self::ZeroWindow {
            options.send_buffer = UNSENT;
        }
        options
    }

    /// So many seconds, and everybody has done the worst.
    pub(super) fn seconds(self) -> u32 {
        match self {
            Self::OneByte | Self::ZeroWindow => 1,
            Self::NeverRead | Self::Gaps => 8,
            Self::Trickle => 30,
            Self::SlowReaders => 20,
        }
    }

    /// It is an attacker's turn, or that of the program that has a connection with it.
    pub(super) fn act(self, world: &mut World, number: u32) -> io::Result<()> {
        match self {
            Self::OneByte => one_byte(world, number),
            Self::NeverRead => fill_window(world, number),
            Self::ZeroWindow => write(world, number),
            Self::Trickle => {
                world.send(number, 1)?;
                read(world, number)
            }
            Self::Gaps => leave_gaps(world, number, GAPS / self.seconds()),
            Self::SlowReaders => {
                read(world, number)?;
                fill_window(world, number)
            }
        }
    }

    /// Likewise, when everybody has done the worst: the packets are fewer.
    pub(super) fn go_on(self, world: &mut World, number: u32) -> io::Result<()> {
        if self == Self::Gaps { leave_gaps(world, number, MORE_GAPS) } else { self.act(world, number) }
    }
}

// ---- what they do

fn one_byte(world: &mut World, number: u32) -> io::Result<()> {
    let Attacker { seq, una, .. } = world.attacker(number);
    // Once. It is not sent again either.
    let is_first = seq == una && una.get() == 1001;
    if is_first { world.send(number, 1) } else { Ok(()) }
}

/// What was dropped is sent again.
fn fill_window(world: &mut World, number: u32) -> io::Result<()> {
    let attacker = world.attacker(number);
    world.set_attacker(number, Attacker { seq: attacker.una, ..attacker });
    for _ in 0..BURST {
        let Attacker { seq, edge, .. } = world.attacker(number);
        if seq.at_or_after(edge) {
            break;
        }
        world.send(number, edge.since(seq).min(MSS))?;
    }
    Ok(())
}

/// Beginning anew behind the last one.
fn leave_gaps(world: &mut World, number: u32, gaps: u32) -> io::Result<()> {
    for _ in 0..gaps {
        let attacker = world.attacker(number);
        let next = attacker.seq.since(attacker.una) % (2 * GAPS) + 1;
        world.set_attacker(number, Attacker { seq: attacker.una + next, ..attacker });
        world.send(number, 1)?;
    }
    Ok(())
}

fn write(world: &mut World, number: u32) -> io::Result<()> {
    static BLOCK: [u8; 64 * 1024] = [0x5a; 64 * 1024];
    let Some(id) = world.attacker(number).id else { return Ok(()) };
    while world.server.send(world.now, id, &BLOCK, SendFlags::default()).is_ok() {}
    world.answer()
}

fn read(world: &mut World, number: u32) -> io::Result<()> {
    let Some(id) = world.attacker(number).id else { return Ok(()) };
    let _read = world.server.recv(world.now, id, SIP);
    world.answer()
}
