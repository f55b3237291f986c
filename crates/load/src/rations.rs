//! Rations of processor time: some threads of a process get a share of a processor each, and no more.
//!
//! The kernel's bandwidth control does it, by control groups: one for the process, and in it one for each
//! thread. Both versions of control groups are known, and which of them has the controller `cpu` is read
//! from the list of mounts. It takes root's rights. The groups are there as long as the value: when it is
//! dropped, however far it had come, threads go back to the root group and the groups are removed. Whoever
//! is killed leaves groups, `noctule-load-*`, which bound nobody once the process on rations has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::LoadError;

/// How much a thread gets: so much in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ration {
    /// Of processor time; 1 ms at least, as the kernel takes no less. A thread that computes without
    /// pause is only looked at when the clock ticks, mostly every 4 ms, and pays back afterwards what it
    /// had too much until then.
    pub quota: Duration,
    /// How often; 1 ms to 1 s.
    pub period: Duration,
}

impl Ration {
    /// The share of a processor.
    pub fn share(self) -> f64 {
        self.quota.as_secs_f64() / self.period.as_secs_f64()
    }
}

/// Threads on rations.
#[derive(Debug)]
pub struct Rations {
    groups: Groups,
    /// Of the process; what is below it is one for each thread.
    group: PathBuf,
    pid: u32,
    threads: Vec<u32>,
}

impl Rations {
    /// Puts these threads of a process on rations.
    ///
    /// # Errors
    /// If there is no controller `cpu` in the control groups of this machine, or we may not use it.
    pub fn new(pid: u32, threads: &[u32], ration: Ration) -> Result<Self, LoadError> {
        let mounts = read(Path::new("/proc/mounts"))?;
        let groups = mounted(&mounts).find(Groups::have_cpu);
        let groups =
            groups.ok_or_else(|| LoadError::new("no control groups for cpu are mounted"))?;
        Self::within(groups, pid, threads, ration)
    }

    fn within(
        groups: Groups,
        pid: u32,
        threads: &[u32],
        ration: Ration,
    ) -> Result<Self, LoadError> {
        let group = groups.root.join(format!("noctule-load-{pid}"));
        make(&group)?;
        // From here on it is removed whatever happens.
        let rations = Self { groups, group, pid, threads: threads.to_vec() };
        rations.hand_out(ration)?;
        Ok(rations)
    }

    fn hand_out(&self, ration: Ration) -> Result<(), LoadError> {
        let Self { groups, group, .. } = self;
        let is_second = groups.version == Version::Second;
        if is_second {
            for above in [&groups.root, group] {
                write(&above.join(CONTROLLERS), "+cpu")?;
            }
        }
        for thread in &self.threads {
            let of_thread = self.of_thread(*thread);
            make(&of_thread)?;
            if is_second {
                // Only then may threads of one process be in several groups, if it is in the one above.
                write(&of_thread.join("cgroup.type"), "threaded")?;
            }
            for (file, text) in groups.version.bounds(ration) {
                write(&of_thread.join(file), &text)?;
            }
        }
        if is_second {
            // All threads come along, also out of groups of their own: once, and first.
            write(&group.join(PROCESSES), &self.pid.to_string())?;
        }
        for thread in &self.threads {
            let file = self.of_thread(*thread).join(groups.version.threads());
            write(&file, &thread.to_string())?;
        }
        Ok(())
    }

    fn of_thread(&self, thread: u32) -> PathBuf {
        self.group.join(thread.to_string())
    }
}

impl Drop for Rations {
    fn drop(&mut self) {
        let Groups { version, root } = &self.groups;
        // Whoever has ended is in no group any more, and a group that cannot be removed is left.
        match version {
            Version::First => self.threads.iter().for_each(|thread| {
                let _ = write(&root.join(version.threads()), &thread.to_string());
            }),
            Version::Second => {
                let _ = write(&root.join(PROCESSES), &self.pid.to_string());
            }
        }
        for thread in &self.threads {
            let _ = fs::remove_dir(self.of_thread(*thread));
        }
        let _ = fs::remove_dir(&self.group);
    }
}

/// A tree of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Groups {
    version: Version,
    root: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// A tree for each controller, or for a few.
    First,
    /// One tree for all.
    Second,
}

impl Groups {
    fn have_cpu(&self) -> bool {
        let file = self.root.join("cgroup.controllers");
        let has_cpu = |text: String| text.split_whitespace().any(|name| name == "cpu");
        self.version == Version::First || fs::read_to_string(file).is_ok_and(has_cpu)
    }
}

impl Version {
    /// The file that threads are written to, by their ids.
    const fn threads(self) -> &'static str {
        match self {
            Self::First => "tasks",
            Self::Second => "cgroup.threads",
        }
    }

    /// What is written where to bound a group.
    fn bounds(self, ration: Ration) -> Vec<(&'static str, String)> {
        let (quota, period) = (ration.quota.as_micros(), ration.period.as_micros());
        match self {
            Self::First => vec![
                ("cpu.cfs_period_us", period.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            Self::Second => vec![("cpu.max", format!("{quota} {period}"))],
        }
    }
}

/// The trees in which there may be the controller `cpu`, from the text of `/proc/mounts`.
fn mounted(mounts: &str) -> impl Iterator<Item = Groups> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match kind {
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::First,
            "cgroup2" => Version::Second,
            _ => return None,
        };
        Some(Groups { version, root: root.into() })
    })
}

fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

fn make(path: &Path) -> Result<(), LoadError> {
    fs::create_dir(path).map_err(failed("make", path))
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    fs::write(path, text).map_err(failed("write to", path))
}

fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> LoadError {
    let words = format!("cannot {doing} {}", path.display());
    move |error| LoadError::io(words, error)
}

const CONTROLLERS: &str = "cgroup.subtree_control";
const PROCESSES: &str = "cgroup.procs";

#[cfg(test)]
mod tests {
    use super::*;

    const RATION: Ration =
        Ration { quota: Duration::from_millis(1), period: Duration::from_millis(5) };

    /// A directory of its own, which takes every file that a group has.
    fn groups(version: Version, name: &str) -> Groups {
        let name = format!("noctule-rations-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        Groups { version, root }
    }

    #[test]
    fn the_controller_is_found_among_the_mounts() {
        let text = "proc /proc proc rw 0 0\n\
                    cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                    cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let found: Vec<_> = mounted(text).collect();
        let groups = |version, root: &str| Groups { version, root: root.into() };
        assert_eq!(
            found,
            [
                groups(Version::First, "/sys/fs/cgroup/cpu,cpuacct"),
                groups(Version::Second, "/sys/fs/cgroup/unified"),
            ]
        );
        assert_eq!(mounted("none\n").count(), 0);
    }

    #[test]
    fn the_second_version_counts_if_it_has_the_controller() {
        let groups = groups(Version::Second, "controllers");
        assert!(!groups.have_cpu());
        let file = groups.root.join("cgroup.controllers");
        fs::write(&file, "cpuset io\n").unwrap();
        assert!(!groups.have_cpu());
        fs::write(&file, "cpuset cpu io\n").unwrap();
        assert!(groups.have_cpu());
        fs::remove_dir_all(&groups.root).unwrap();
    }

    #[test]
    fn each_thread_has_a_group_of_its_own() {
        let texts = |version, name, files: &[&str]| {
            let groups = groups(version, name);
            let rations = Rations::within(groups.clone(), 7, &[8, 9], RATION).unwrap();
            let read = |file: &&str| fs::read_to_string(rations.group.join(file)).unwrap();
            let texts: Vec<_> = files.iter().map(read).collect();
            drop(rations);
            fs::remove_dir_all(&groups.root).unwrap();
            texts
        };
        let files = ["8/cpu.cfs_period_us", "8/cpu.cfs_quota_us", "8/tasks", "9/tasks"];
        assert_eq!(texts(Version::First, "first", &files), ["5000", "1000", "8", "9"]);
        let files = [CONTROLLERS, PROCESSES, "8/cgroup.type", "8/cpu.max", "9/cgroup.threads"];
        let found = texts(Version::Second, "second", &files);
        assert_eq!(found, ["+cpu", "7", "threaded", "1000 5000", "9"]);
    }

    #[test]
    fn what_was_made_is_removed_when_it_comes_to_nothing() {
        let groups = groups(Version::First, "failing");
        // One thread twice: its group can be made only once.
        assert!(Rations::within(groups.clone(), 7, &[8, 8], RATION).is_err());
        // Threads went back, and in a real tree, where files are no obstacle, groups are gone.
        assert_eq!(fs::read_to_string(groups.root.join("tasks")).unwrap(), "8");
        fs::remove_dir_all(&groups.root).unwrap();
        let nowhere = Groups { version: Version::First, root: "/nonexistent".into() };
        let error = Rations::within(nowhere, 7, &[8], RATION).unwrap_err().to_string();
        assert!(error.starts_with("cannot make /nonexistent/noctule-load-7"), "{error}");
    }

    #[test]
    fn a_ration_is_a_share_of_a_processor() {
        assert!((RATION.share() - 0.2).abs() < 1e-9);
    }
}
