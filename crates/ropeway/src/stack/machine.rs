//! How much memory there is: the machine's, or what the control group of this process may have of it.

use std::fs;
use std::path::{Path, PathBuf};

/// A stack with a device of the operating system's may take this part of it.
const PART: usize = 4;

/// The budget of a stack that shares its memory with the rest of the machine, in bytes; nothing, if that cannot be told.
pub(super) fn budget() -> Option<usize> {
    memory(Path::new("/")).map(|memory| memory / PART)
}

/// The least of the machine's memory and the limits of the control group, of version 2 or 1. `root`: where `/proc` and `/sys`
/// are.
fn memory(root: &Path) -> Option<usize> {
    let groups = read(root, "proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|group| group_limits(root, group));
    limits.chain(machine(root)).min()
}

/// `MemTotal:       16384 kB`
fn machine(root: &Path) -> Option<usize> {
    let info = read(root, "proc/meminfo")?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// What a line of `/proc/self/cgroup` says: `0::/path` for version 2, `4:memory:/path` for the memory controller of version 1.
/// Every group above has a limit, too. In a container the path may be that of the host: then the limit is that of the root.
fn group_limits(root: &Path, line: &str) -> Vec<usize> {
    let mut parts = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (mount, file) = match (number, controllers) {
        ("0", "") => ("sys/fs/cgroup", "memory.max"),
        (_, controllers) if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = PathBuf::from(path.trim_start_matches('/'));
    group.ancestors().filter_map(|above| limit(&root.join(mount).join(above).join(file))).collect()
}

/// `max` is no limit.
fn limit(file: &Path) -> Option<usize> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn read(root: &Path, file: &str) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;

    /// What a machine with such files has.
    fn with(name: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root = std::env::temp_dir().join(format!("ropeway-{}-{name}", std::process::id()));
        for (file, text) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let found = memory(&root);
        if !files.is_empty() {
            fs::remove_dir_all(&root).unwrap();
        }
        found
    }

    const MACHINE: (&str, &str) =
        ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:        100 kB\nMemAvailable:   200 kB\n");

    #[test]
    fn it_is_the_least_of_machine_and_control_groups() {
        assert_eq!(with("nothing", &[]), None);
        assert_eq!(with("machine", &[MACHINE]), Some(16 * GIB));
        let v2 = ("proc/self/cgroup", "0::/user/shell\n");
        assert_eq!(
            with("v2-none", &[MACHINE, v2, ("sys/fs/cgroup/user/shell/memory.max", "max\n")]),
            Some(16 * GIB)
        );
        let own = ("sys/fs/cgroup/user/shell/memory.max", "2147483648\n");
        assert_eq!(with("v2-own", &[MACHINE, v2, own]), Some(2 * GIB));
        let above = ("sys/fs/cgroup/user/memory.max", "1073741824\n");
        assert_eq!(with("v2-above", &[MACHINE, v2, own, above]), Some(GIB));
        let container = ("sys/fs/cgroup/memory.max", "536870912\n");
        assert_eq!(with("v2-container", &[MACHINE, v2, container]), Some(GIB / 2));
        assert_eq!(
            with("v2-more", &[MACHINE, v2, ("sys/fs/cgroup/memory.max", "99999999999\n")]),
            Some(16 * GIB)
        );
        let v1 = ("proc/self/cgroup", "5:devices:/\n4:cpu,memory:/box\n0::/\n");
        let limit = ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "1073741824\n");
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(with("v1", &[MACHINE, v1, limit, unlimited]), Some(GIB));
        assert_eq!(with("v1-none", &[MACHINE, v1, unlimited]), Some(16 * GIB));
    }

    #[test]
    fn files_that_say_nothing_are_no_limit() {
        for text in ["", "0::", "x", "0::/../..", "4:memory", ":::::", "\0"] {
            assert_eq!(with("odd", &[MACHINE, ("proc/self/cgroup", text)]), Some(16 * GIB), "{text:?}");
        }
        assert_eq!(with("no-number", &[("proc/meminfo", "MemTotal: many kB\n")]), None);
    }
}
