//! What the control groups of this process leave it of memory, on Linux: each group in which it is, and each group around that, may have a limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that the group with the least left has left; `None` where there is no limit. Files are looked for below `root`, which is `/` but in
/// tests.
pub(super) fn available(root: &Path) -> Option<u64> {
    let proc = |name: &str| fs::read_to_string(root.join("proc/self").join(name)).unwrap_or_default();
    let (mounts, groups) = (proc("mountinfo"), proc("cgroup"));
    groups.lines().filter_map(|line| Group::parse(line, &mounts)).filter_map(|group| group.available(root)).min()
}

/// The two versions of control groups name their files and numbers differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files with the limit and with what is used.
    fn files(self) -> [&'static str; 2] {
        match self {
            Version::One => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            Version::Two => ["memory.max", "memory.current"],
        }
    }

    /// The numbers of `memory.stat` for pages of files, which count as used and which the system takes back when it needs them.
    fn of_files(self) -> [&'static str; 2] {
        match self {
            Version::One => ["total_active_file", "total_inactive_file"],
            Version::Two => ["active_file", "inactive_file"],
        }
    }
}

/// A group that this process is in.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    /// Where the outermost group that can be seen is mounted.
    mount: PathBuf,
    /// The way from there to this one.
    inside: PathBuf,
}

impl Group {
    /// Of a line of `/proc/self/cgroup`, `number:controllers:path`, where the group limits memory and is mounted.
    fn parse(line: &str, mounts: &str) -> Option<Group> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let version = match controllers {
            "" => Version::Two,
            _ if controllers.split(',').any(|controller| controller == "memory") => Version::One,
            _ => return None,
        };
        let (root, mount) = mounts.lines().find_map(|line| mounted(line, version))?;
        // A group outside what is mounted, such as that of a container's host, cannot be seen; the one that is mounted can.
        let inside = Path::new(path).strip_prefix(&root).unwrap_or(Path::new("")).to_owned();
        let is_below = !inside.components().any(|part| part == std::path::Component::ParentDir);
        Some(Group { version, mount, inside: if is_below { inside } else { PathBuf::new() } })
    }

    /// What this group and those around it leave, where one of them has a limit.
    fn available(&self, root: &Path) -> Option<u64> {
        let mount = root.join(self.mount.strip_prefix("/").unwrap_or(&self.mount));
        self.inside.ancestors().filter_map(|inside| left_in(&mount.join(inside), self.version)).min()
    }
}

/// The group and the place of a line of `/proc/self/mountinfo`, if groups of this version that limit memory are mounted there.
fn mounted(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (unescaped(place.next()?), unescaped(place.next()?));
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1)?);
    let is_found = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => kind == "cgroup2",
    };
    is_found.then(|| (root.into(), mount.into()))
}

/// A path as `mountinfo` has it, with spaces and the like as numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.into(), |path, (from, to)| path.replace(from, to))
}

/// What is left in the group of a folder, if it has a limit.
fn left_in(folder: &Path, version: Version) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let [limit, used] = version.files().map(number);
    let stat = read("memory.stat").unwrap_or_default();
    let of =
        |wanted: &str| stat.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(' ')?.trim().parse::<u64>().ok());
    let of_files: u64 = version.of_files().into_iter().filter_map(of).sum();
    // `max` is no number.
    Some(limit?.saturating_sub(used.unwrap_or(0).saturating_sub(of_files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A folder with these files as the root of a system.
    fn system(files: &[(&str, String)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn left_by(files: &[(&str, String)]) -> Option<u64> {
        available(system(files).path())
    }

    const TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const ONE: &str = "34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn a_limit_of_any_group_around_counts() {
        let mib = |number: u64| format!("{}\n", number * MIB);
        let about =
            |mounts: &str, group: &str| vec![("proc/self/mountinfo", mounts.to_owned()), ("proc/self/cgroup", group.to_owned())];
        // Version 2: the innermost has no limit, the one around it has, and the one around that has less left.
        let mut two = about(TWO, "0::/a/b/c\n");
        assert_eq!(left_by(&two), None);
        two.push(("sys/fs/cgroup/a/b/c/memory.max", "max\n".into()));
        assert_eq!(left_by(&two), None);
        two.extend([("sys/fs/cgroup/a/b/memory.max", mib(64)), ("sys/fs/cgroup/a/b/memory.current", mib(14))]);
        assert_eq!(left_by(&two), Some(50 * MIB));
        two.extend([("sys/fs/cgroup/a/memory.max", mib(100)), ("sys/fs/cgroup/a/memory.current", mib(90))]);
        assert_eq!(left_by(&two), Some(10 * MIB));
        two.push(("sys/fs/cgroup/a/memory.stat", format!("anon 5\nactive_file {}\ninactive_file {}\n", 4 * MIB, 3 * MIB)));
        assert_eq!(left_by(&two), Some(17 * MIB));
        two.extend([("sys/fs/cgroup/memory.max", mib(8)), ("sys/fs/cgroup/memory.current", mib(9))]);
        assert_eq!(left_by(&two), Some(0));

        // Version 1, beside groups that limit something else; no limit is a number that no machine has.
        let groups = "9:name=systemd:/x\n4:memory:/a/b\n1:cpu:/\n0::/\n";
        let mut one = about(ONE, groups);
        one.push(("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n".into()));
        assert_eq!(left_by(&one), Some(9_223_372_036_854_771_712));
        one.extend([
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", mib(30)),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", mib(20)),
            ("sys/fs/cgroup/memory/a/memory.stat", format!("active_file 7\ntotal_inactive_file {}\n", 2 * MIB)),
        ]);
        assert_eq!(left_by(&one), Some(12 * MIB));
        // Both at once: the least counts.
        let mut both = about(&format!("{TWO}{ONE}"), groups);
        both.extend(one.split_off(2));
        both.push(("sys/fs/cgroup/memory.max", mib(11)));
        assert_eq!(left_by(&both), Some(11 * MIB));
    }

    #[test]
    fn a_container_sees_its_own_groups() {
        let mounts = "30 23 0:26 /docker/x /sys/fs/my\\040groups ro - cgroup2 cgroup rw\n";
        for (group, inside) in [("/docker/x/y", "y"), ("/docker/x", ""), ("/elsewhere", ""), ("/../other", "")] {
            let expected = Group { version: Version::Two, mount: "/sys/fs/my groups".into(), inside: inside.into() };
            assert_eq!(Group::parse(&format!("0::{group}"), mounts), Some(expected), "{group}");
        }
        for line in ["", "x", "3:cpu:/", "0:", "5:memory:/"] {
            assert_eq!(Group::parse(line, mounts), None, "{line}");
        }
    }

    #[test]
    fn a_system_without_groups_has_no_limit() {
        assert_eq!(left_by(&[]), None);
        assert_eq!(left_by(&[("proc/self/cgroup", "0::/a\n".into()), ("proc/self/mountinfo", "what - is\n\n".into())]), None);
    }
}
