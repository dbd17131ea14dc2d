//! A network namespace that is a gateway's guest, and its device, without any rights outside of it.
//!
//! A process has rights in a user namespace that its user has made, but only if it enters it, and it does not get out again. So a copy
//! of the program goes in, makes the TUN device there, and sends its descriptor back.

use std::env;
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};
use ropeway::IpCidr;
use ropeway::device::tun::TunDevice;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::namespace;

/// The guest's device, in its namespace.
const DEVICE: &str = "tun0";

/// Where the guest is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a namespace that is made for it.
    New,
    /// In that of a process, or of a file such as `/run/netns/NAME`.
    There(String),
}

/// A guest with its device. A namespace that was made for it ends with this.
#[derive(Debug)]
pub struct Guest {
    place: Place,
    inside: Child,
    /// The copy of this program ends when this is closed.
    _line: UnixStream,
}

impl Guest {
    /// Starts a copy of this program, which calls [`hand_over`] when it is told `--hand-over`, and takes the device that it makes.
    ///
    /// # Errors
    ///
    /// Those of the copy, which it has told on the standard error.
    pub fn start(place: &Place, mtu: u16) -> io::Result<(TunDevice, Self)> {
        let (line, other) = UnixStream::pair()?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["--hand-over", "--mtu", &mtu.to_string()]);
        if let Place::There(netns) = place {
            command.args(["--netns", netns]);
        }
        let inside = command.stdin(Stdio::from(OwnedFd::from(other))).spawn()?;
        drop(command);
        let device = receive(&line)?;
        Ok((TunDevice::from_fd(device, mtu)?, Self { place: place.clone(), inside, _line: line }))
    }

    /// What to type to run `command` as the guest.
    #[must_use]
    pub fn command_line(&self, command: &str) -> String {
        match &self.place {
            Place::There(netns) if netns.parse::<u32>().is_err() => {
                format!("nsenter --net={netns} {command}")
            }
            Place::There(pid) => enter(pid, command),
            Place::New => enter(&self.inside.id().to_string(), command),
        }
    }
}

fn enter(pid: &str, command: &str) -> String {
    let user = if is_our_user_namespace(pid) { "" } else { "--user --preserve-credentials " };
    format!("nsenter --target {pid} {user}--net {command}")
}

fn is_our_user_namespace(pid: &str) -> bool {
    let inode = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/user")).map(|file| file.ino()).ok();
    inode(pid) == inode("self")
}

/// The copy's part: makes the device in the guest's namespace, sends it by the standard input, and stays if the namespace is its own.
///
/// A process enters a user namespace only while it has a single thread, so this comes before all else.
///
/// # Errors
///
/// Why it cannot be done.
pub fn hand_over(place: &Place, mtu: u16, addresses: &[IpCidr]) -> Result<(), String> {
    match place {
        Place::New => drop(namespace::enter()?),
        Place::There(netns) => {
            enter_namespace(netns).map_err(|error| format!("{netns} cannot be entered: {error}"))?;
        }
    }
    let line = io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    make(&line, mtu, addresses).map_err(|error| error.to_string())?;
    if matches!(place, Place::New) {
        // Until the other end is closed.
        let _closed = File::from(line).read(&mut [0]);
    }
    Ok(())
}

fn enter_namespace(netns: &str) -> io::Result<()> {
    if netns.parse::<u32>().is_err() {
        return Ok(setns(File::open(Path::new(netns))?, CloneFlags::CLONE_NEWNET)?);
    }
    let (user, net) =
        (File::open(format!("/proc/{netns}/ns/user"))?, File::open(format!("/proc/{netns}/ns/net"))?);
    if !is_our_user_namespace(netns) {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
    }
    Ok(setns(net, CloneFlags::CLONE_NEWNET)?)
}

#[tokio::main(flavor = "current_thread")]
async fn make(line: &OwnedFd, mtu: u16, addresses: &[IpCidr]) -> io::Result<()> {
    let builder = TunDevice::builder().name(DEVICE).mtu(mtu).up();
    let device = addresses.iter().fold(builder, |builder, address| builder.address(*address)).build()?;
    ip("link set lo up")?;
    ip(&format!("route add default dev {DEVICE}"))?;
    if addresses.iter().any(|address| address.address().is_ipv6()) {
        ip(&format!("-6 route add default dev {DEVICE}"))?;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [device.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(line, &[IoSlice::new(b"d")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Has iproute2 do something.
fn ip(arguments: &str) -> io::Result<()> {
    let status = Command::new("ip").args(arguments.split(' ')).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ip {arguments}: {status}"))) }
}

fn receive(line: &UnixStream) -> io::Result<OwnedFd> {
    let (mut data, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(line, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or_else(|| io::Error::other("there is no device in the guest's namespace"))
}
