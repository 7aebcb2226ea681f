//! What a container, or a service's slice, leaves of the machine's memory: the limits of Linux's control groups.

use std::fs;
use std::path::Path;

/// Where the groups are mounted, by convention.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The most bytes that this process may have by its groups, if they say.
pub(super) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least(&groups, Path::new(MOUNTED))
}

/// The least of the limits of the groups that `/proc/self/cgroup` names, and of those around them: each holds.
fn least(groups: &str, mounted: &Path) -> Option<u64> {
    groups.lines().filter_map(|line| of_line(line, mounted)).min()
}

/// The limit by one line, as in `0::/a/b` (version 2) or `4:memory:/a/b` (version 1).
fn of_line(line: &str, mounted: &Path) -> Option<u64> {
    let (_, line) = line.split_once(':')?;
    let (controllers, group) = line.split_once(':')?;
    let (root, file) = if controllers.is_empty() {
        (mounted.to_owned(), "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (mounted.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    // A container may be told its group's path from outside, which is not there inside: the root it sees is its group.
    let groups = Path::new(group.strip_prefix('/')?).ancestors();
    groups.filter_map(|group| read(&root.join(group).join(file))).min()
}

/// A limit; none where it is `max`, or not there.
fn read(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// What version 1 says for no limit.
    const NO_LIMIT: &str = "9223372036854771712";

    /// A tree of groups with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = tree.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{text}\n")).unwrap();
        }
        tree
    }

    #[track_caller]
    fn check(groups: &str, files: &[(&str, &str)], limit: Option<u64>) {
        assert_eq!(least(groups, tree(files).path()), limit, "{groups} {files:?}");
    }

    #[test]
    fn in_version_2_the_least_of_the_group_and_those_around_it_holds() {
        let (own, around) = ("a.slice/b.service/memory.max", "a.slice/memory.max");
        let group = "0::/a.slice/b.service\n";
        check(group, &[(own, "1048576"), (around, "max")], Some(MIB));
        check(group, &[(own, "max"), (around, "2097152")], Some(2 * MIB));
        check(group, &[(own, "3145728"), (around, "2097152")], Some(2 * MIB));
        check(group, &[(own, "max"), (around, "max")], None);
        // Of a group beside it nothing holds.
        check(group, &[("a.slice/c.service/memory.max", "1048576")], None);
        // Inside of a container: its group is the root that it sees.
        check("0::/\n", &[("memory.max", "1048576")], Some(MIB));
    }

    #[test]
    fn in_version_1_only_the_groups_of_memory_count() {
        let own = "memory/docker/1/memory.limit_in_bytes";
        let root = "memory/memory.limit_in_bytes";
        let groups = "5:devices:/x\n4:cpuset,memory:/docker/1\n1:name=systemd:/docker/1\n0::/\n";
        check(groups, &[(own, "1048576"), (root, NO_LIMIT)], Some(MIB));
        check(groups, &[("devices/x/memory.limit_in_bytes", "1")], None);
        // Inside of a container that is told where its group is from outside.
        check(groups, &[(root, "2097152")], Some(2 * MIB));
        check(groups, &[(root, NO_LIMIT)], Some(NO_LIMIT.parse().unwrap()));
    }

    #[test]
    fn what_makes_no_sense_limits_nothing() {
        for groups in ["", "\n", "0", "0:", "0::", "0::relative", "4:memory", "::"] {
            check(groups, &[("memory.max", "?"), ("memory/memory.limit_in_bytes", "-1")], None);
        }
    }
}
