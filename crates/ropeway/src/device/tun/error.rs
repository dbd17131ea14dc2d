//! What can go wrong with a TUN device, in words that say what to do.

use std::io;

use ropeway_core::IpCidr;

use super::name::InterfaceName;

/// Why a TUN device could not be made or attached, or stopped working.
///
/// [`TunDevice`](super::TunDevice)'s functions return it inside an [`io::Error`]; there
/// [`io::Error::get_ref`] and a downcast find it again. Each message is one line that says what to do.
///
/// ```
/// use ropeway::device::tun::TunError;
///
/// let error = ropeway::device::tun::TunDevice::builder().name("a name with blanks").build().unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// let error = error.get_ref().and_then(|inner| inner.downcast_ref());
/// assert!(matches!(error, Some(TunError::InvalidName { .. })));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TunError {
    /// The name cannot be an interface's.
    InvalidName {
        /// The name that was asked for.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The MTU is out of range.
    InvalidMtu {
        /// What was asked for, in bytes.
        mtu: u16,
        /// The smallest that would do, in bytes.
        least: u16,
    },
    /// `/dev/net/tun` is not there, or no driver is behind it.
    NoTunSupport(io::Error),
    /// `/dev/net/tun` must not be opened.
    NodeNotPermitted(io::Error),
    /// A device must not be made here.
    NotPermitted {
        /// The name that was asked for.
        name: String,
    },
    /// An interface of that name exists.
    NameTaken {
        /// The name that was asked for.
        name: String,
    },
    /// There is no interface of that name to attach to.
    NotFound {
        /// The name that was asked for.
        name: String,
    },
    /// Another program is attached to the device.
    Busy {
        /// The device's name.
        name: String,
    },
    /// The device belongs to another user.
    NotOwner {
        /// The device's name.
        name: String,
    },
    /// The interface is not a TUN device.
    WrongType {
        /// The interface's name.
        name: String,
    },
    /// The device was made, but could not be given an address; it is gone again.
    Address {
        /// The device's name.
        name: String,
        /// The address that was refused.
        address: IpCidr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device was made, but one of its settings was refused; it is gone again.
    Setting {
        /// The device's name.
        name: String,
        /// Which setting.
        setting: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no Tokio runtime here.
    NoRuntime,
    /// The device was deleted while it was in use.
    Deleted {
        /// The name it had.
        name: String,
    },
    /// Some other call failed.
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TunError {
    pub(super) fn kind(&self) -> io::ErrorKind {
        use io::ErrorKind;
        match self {
            Self::InvalidName { .. } | Self::InvalidMtu { .. } | Self::WrongType { .. } => {
                ErrorKind::InvalidInput
            }
            Self::NodeNotPermitted(_) | Self::NotPermitted { .. } | Self::NotOwner { .. } => {
                ErrorKind::PermissionDenied
            }
            Self::NoTunSupport(_) | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NameTaken { .. } => ErrorKind::AlreadyExists,
            Self::Busy { .. } => ErrorKind::ResourceBusy,
            Self::Address { source, .. } | Self::Setting { source, .. } | Self::Io { source, .. } => {
                source.kind()
            }
            Self::NoRuntime => ErrorKind::Other,
            Self::Deleted { .. } => ErrorKind::BrokenPipe,
        }
    }

    /// What opening `/dev/net/tun` said.
    pub(super) fn from_open(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => Self::NoTunSupport(error),
            Some(libc::EACCES | libc::EPERM) => Self::NodeNotPermitted(error),
            _ => Self::Io { attempt: "opening /dev/net/tun", source: error },
        }
    }

    /// What making a device said.
    pub(super) fn from_create(name: &InterfaceName, error: io::Error) -> Self {
        let name = name.to_string();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { name },
            Some(libc::EBUSY | libc::EEXIST) => Self::NameTaken { name },
            _ => Self::Io { attempt: "making a TUN device", source: error },
        }
    }

    /// What attaching to a device said.
    pub(super) fn from_attach(name: &InterfaceName, error: io::Error) -> Self {
        let name = name.to_string();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotOwner { name },
            Some(libc::EBUSY) => Self::Busy { name },
            Some(libc::EINVAL) => Self::WrongType { name },
            _ => Self::Io { attempt: "attaching to a TUN device", source: error },
        }
    }
}

impl std::fmt::Display for TunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidName { name, reason } => write!(f, "{name:?} cannot be a device's name: {reason}"),
            Self::InvalidMtu { mtu, least } => {
                write!(f, "an MTU of {mtu} bytes is too small: choose one from {least} to 65535")
            }
            Self::NoTunSupport(error) => write!(
                f,
                "no TUN support ({error}): load the driver with `modprobe tun`, or give the container /dev/net/tun"
            ),
            Self::NodeNotPermitted(error) => write!(
                f,
                "/dev/net/tun cannot be opened ({error}): run as root, or let root `chmod 666 /dev/net/tun`, \
                 which is the usual mode and gives no rights over the network"
            ),
            Self::NotPermitted { name } => write!(
                f,
                "no right to make the TUN device {name}: run as root or with CAP_NET_ADMIN, or attach to a device \
                 that root made with `ip tuntap add dev {name} mode tun user $USER`"
            ),
            Self::NameTaken { name } => write!(
                f,
                "an interface named {name} exists already: choose another name, or attach to it if it is a persistent \
                 TUN device of yours (`ip tuntap show` lists those)"
            ),
            Self::NotFound { name } => write!(
                f,
                "there is no interface named {name}: let root make it with `ip tuntap add dev {name} mode tun user $USER`"
            ),
            Self::Busy { name } => {
                write!(f, "another program is attached to {name}: end it, or use another device")
            }
            Self::NotOwner { name } => write!(
                f,
                "{name} is not this user's: let root make it with `ip tuntap add dev {name} mode tun user $USER`, \
                 or run as root"
            ),
            Self::WrongType { name } => {
                write!(f, "{name} is not a TUN device: make one with `ip tuntap add dev NAME mode tun`")
            }
            Self::Address { name, address, source } => {
                write!(f, "the address {address} cannot be given to {name}: {source}")
            }
            Self::Setting { name, setting, source } => {
                write!(f, "the {setting} of {name} cannot be set: {source}")
            }
            Self::NoRuntime => f.write_str(
                "a TUN device needs a Tokio runtime: make it in async code, or under Runtime::enter",
            ),
            Self::Deleted { name } => write!(f, "the TUN device {name} was deleted"),
            Self::Io { attempt, source } => write!(f, "{attempt} failed: {source}"),
        }
    }
}

impl std::error::Error for TunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoTunSupport(error) | Self::NodeNotPermitted(error) => Some(error),
            Self::Address { source, .. } | Self::Setting { source, .. } | Self::Io { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

impl From<TunError> for io::Error {
    fn from(error: TunError) -> Self {
        Self::new(error.kind(), error)
    }
}
