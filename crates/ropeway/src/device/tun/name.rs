//! Names that an interface can have.

use std::ffi::CStr;
use std::fmt;

use super::error::TunError;

/// The room for a name, its final NUL included.
const SIZE: usize = libc::IFNAMSIZ;

/// A name that the kernel takes for an interface: what it would cut short or refuse is refused here, with
/// the reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct InterfaceName {
    /// Padded with NULs; the last byte always is one.
    bytes: [u8; SIZE],
}

impl InterfaceName {
    /// Checks a name. `%d` in it stands for the first number that makes it unique.
    pub(super) fn new(name: &str) -> Result<Self, TunError> {
        let refuse = |reason| {
            Err(TunError::InvalidName {
                name: name.to_owned(),
                reason,
            })
        };
        let mut bytes = [0; SIZE];
        match bytes.get_mut(..name.len()) {
            Some(room) if name.len() < SIZE => room.copy_from_slice(name.as_bytes()),
            _ => return refuse("it has more than 15 bytes"),
        }
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name == "." || name == ".." {
            return refuse("it stands for a directory");
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
        {
            return refuse("only visible ASCII characters other than '/' and ':' may be in it");
        }
        if name.replacen("%d", "", 1).contains('%') {
            return refuse("'%' may only be in it once, as \"%d\"");
        }
        Ok(Self { bytes })
    }

    /// Whether the kernel is to fill in a number.
    pub(super) fn is_pattern(&self) -> bool {
        self.bytes.contains(&b'%')
    }

    pub(super) fn as_str(&self) -> &str {
        // It was made from a `str`, and NULs are not part of it.
        std::str::from_utf8(&self.bytes)
            .unwrap_or_default()
            .trim_end_matches('\0')
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_takes_passes() {
        for name in ["rope0", "a", "123456789012345", "rope%d", "%d", "a-b_c.d"] {
            let parsed = InterfaceName::new(name).unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.as_c_str().to_str().unwrap(), name);
            assert_eq!(parsed.is_pattern(), name.contains('%'));
        }
    }

    #[test]
    fn what_the_kernel_would_cut_or_refuse_is_refused() {
        for name in [
            "",
            "1234567890123456",
            ".",
            "..",
            "a/b",
            "a b",
            "a:1",
            "a%x",
            "%d%d",
            "ä",
            "a\0b",
            "a\n",
        ] {
            assert!(
                matches!(InterfaceName::new(name), Err(TunError::InvalidName { .. })),
                "{name:?}"
            );
        }
    }
}
