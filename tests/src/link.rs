//! A TUN device with the kernel at one end and ropeway at the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;

use ropeway::device::Device;
use ropeway::device::tun::{TunBuilder, TunCounters, TunDevice};
use ropeway::{Builder, IpCidr, Stack, StackConfig};

/// Which IP carries a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The kernel's address on the link.
    #[must_use]
    pub fn kernel(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 9, 0, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// ropeway's address on the link.
    #[must_use]
    pub fn ours(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 9, 0, 2).into(),
            Self::V6 => Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2).into(),
        }
    }

    fn prefix_len(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

/// Both families, for what is set up for either.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The name of the device.
pub const NAME: &std::ffi::CStr = c"rope0";

/// The device `rope0`, up, with the kernel's addresses of both families.
///
/// # Panics
///
/// If it cannot be made.
#[must_use]
pub fn device() -> TunDevice {
    device_builder().build().unwrap()
}

fn device_builder() -> TunBuilder {
    let builder = TunDevice::builder().name("rope0").up();
    let address = |family: Family| IpCidr::new(family.kernel(), family.prefix_len());
    FAMILIES.into_iter().map(address).fold(builder, |builder, cidr| builder.address(cidr))
}

/// The two ends of the device, for a test over one of the families.
#[derive(Debug)]
pub struct Link {
    /// ropeway's end.
    pub stack: Stack,
    /// What the device lost.
    pub lost: TunCounters,
    family: Family,
}

impl Link {
    /// A link with the default settings.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self::with_config(family, |_| ())
    }

    /// A link whose stack has other settings.
    #[must_use]
    pub fn with_config(family: Family, change: impl FnOnce(&mut StackConfig)) -> Self {
        let device = device();
        let lost = device.counters();
        Self::over(device, lost, family, change)
    }

    /// A link over a TUN device that something is wrapped around.
    ///
    /// # Panics
    ///
    /// If the stack cannot be made.
    #[must_use]
    pub fn over(
        device: impl Device,
        lost: TunCounters,
        family: Family,
        change: impl FnOnce(&mut StackConfig),
    ) -> Self {
        let mut config = StackConfig::default();
        change(&mut config);
        Self::build(Stack::builder().config(config).device(device), lost, family)
    }

    /// A link whose device has so many queues, each with a shard of the stack.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn with_queues(family: Family, queues: NonZeroUsize) -> Self {
        let device = device_builder().queues(queues).build().unwrap();
        let lost = device.counters();
        Self::build(Stack::builder().device(device).shards(queues), lost, family)
    }

    fn build(builder: Builder, lost: TunCounters, family: Family) -> Self {
        let address = |family: Family| IpCidr::new(family.ours(), family.prefix_len());
        let builder = FAMILIES.into_iter().map(address).fold(builder, |builder, cidr| builder.address(cidr));
        Self { stack: builder.build().unwrap(), lost, family }
    }

    /// A port of the kernel's.
    #[must_use]
    pub fn kernel(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.kernel(), port)
    }

    /// A port of ropeway's.
    #[must_use]
    pub fn ours(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.ours(), port)
    }
}

/// Makes a test for each family out of functions that take a [`Link`] by its [`Family`].
#[macro_export]
macro_rules! over_both_families {
    ($($(#[needs($($program:literal),+)])? $test:ident)+) => {
        mod ipv4 {
            $(#[test]
            fn $test() {
                $crate::namespace::run_with(
                    &[$($($program),+)?],
                    async || super::$test($crate::link::Family::V4).await,
                );
            })+
        }
        mod ipv6 {
            $(#[test]
            fn $test() {
                $crate::namespace::run_with(
                    &[$($($program),+)?],
                    async || super::$test($crate::link::Family::V6).await,
                );
            })+
        }
    };
}
