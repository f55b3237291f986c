//! How much memory there is: that of the machine, or of the control group the broker runs in.

use std::fs;
use std::path::{Path, PathBuf};

/// Of what there is, so much may be taken if nobody says otherwise.
const PERCENT: u64 = 75;

/// The bytes that messages, sessions and connections may take if nobody says otherwise; `None` if
/// it cannot be found out how many there are.
pub(crate) fn memory_for_broker() -> Option<u64> {
    let machine = of_machine(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    [machine, of_group()].into_iter().flatten().min().map(|bytes| bytes / 100 * PERCENT)
}

/// `MemTotal` of the kernel's memory page.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The lowest limit among the control groups that this process is in, of both versions.
fn of_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(files_of_group).flatten().filter_map(|file| limit_in(&file)).min()
}

/// The files that may hold the limit of a group, by its line in `/proc/self/cgroup`: its own and
/// those of the groups around it.
fn files_of_group(line: &str) -> Option<Vec<PathBuf>> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        memory if memory.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let around = Path::new(path).ancestors();
    let inside = around.map(|group| group.strip_prefix("/").unwrap_or(group));
    Some(inside.map(|group| Path::new(root).join(group).join(name)).collect())
}

/// The limit in a file; `None` if there is no file, or no limit.
fn limit_in(file: &Path) -> Option<u64> {
    // "max" is no number, and the old version says a number near 2^63.
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|bytes| *bytes < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_from_its_page() {
        let page = "MemFree:  1 kB\nMemTotal:       24654220 kB\n";
        assert_eq!(of_machine(page), Some(24_654_220 * 1_024));
        assert_eq!(of_machine("MemTotal: many"), None);
        assert_eq!(of_machine(""), None);
    }

    #[test]
    fn a_group_is_looked_up_with_those_around_it() {
        let files = files_of_group("0::/a/b").unwrap();
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"];
        assert_eq!(files, expected.map(|group| Path::new(group).join("memory.max")));
        let old = files_of_group("7:cpu,memory:/x").unwrap();
        assert_eq!(old[0], Path::new("/sys/fs/cgroup/memory/x/memory.limit_in_bytes"));
        assert_eq!(files_of_group("3:cpu:/x"), None);
        assert_eq!(files_of_group("nonsense"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory_for_broker().is_some_and(|bytes| bytes > 1 << 20));
    }
}
