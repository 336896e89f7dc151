use crate::environments::control_group::*;

const VERSION_2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const BOTH: &str = "\
    31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
    32 24 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
    33 24 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
const CONTAINER: &str = "40 24 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n";

#[test]
fn groups_are_looked_for_where_the_process_stands() {
    let table: [(&str, &str, &[&str]); 6] = [
        (
            "0::/system.slice/app.service/main\n",
            VERSION_2,
            &["/sys/fs/cgroup/system.slice/app.service/main", "/sys/fs/cgroup/system.slice/app.service"],
        ),
        ("0::/\n", VERSION_2, &["/sys/fs/cgroup/"]),
        ("4:memory:/ours\n3:cpu:/\n0::/\n", BOTH, &["/sys/fs/cgroup/memory/ours", "/sys/fs/cgroup/unified/"]),
        ("0::/docker/abc/main\n", CONTAINER, &["/sys/fs/cgroup/main", "/sys/fs/cgroup"]),
        ("0::/elsewhere\n", CONTAINER, &[]),
        ("", "", &[]),
    ];
    for (groups, mounts, expected) in table {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(candidates(groups, mounts), expected, "{groups}");
    }
}

/// Names and texts.
type Files = [(&'static str, &'static str)];

/// A directory with files, as a control group shows itself.
fn made_up(files: &Files) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn a_directory_is_a_home_if_groups_in_it_can_have_limits() {
    let table: [(&Files, Result<Version, &str>); 7] = [
        (&[("cgroup.controllers", "cpu memory\n"), ("cgroup.subtree_control", "memory\n")], Ok(Version::Two)),
        (&[("cgroup.controllers", "memory\n"), ("cgroup.subtree_control", ""), ("cgroup.procs", "")], Ok(Version::Two)),
        (
            &[("cgroup.controllers", "memory\n"), ("cgroup.subtree_control", "cpu"), ("cgroup.procs", "12\n")],
            Err("has processes of its own"),
        ),
        (&[("cgroup.controllers", "cpu pids\n")], Err("does not have the memory controller")),
        (&[("cgroup.controllers", "memory\n")], Err("its cgroup.subtree_control cannot be read")),
        (&[("memory.limit_in_bytes", "9223372036854771712\n"), ("cgroup.procs", "12\n")], Ok(Version::One)),
        (&[], Err("not a control group")),
    ];
    for (files, expected) in table {
        let directory = made_up(files);
        let found = find(Some(directory.path().as_os_str()), "", "");
        match expected {
            Ok(version) => assert_eq!(found, Ok(Home { directory: directory.path().to_owned(), version })),
            Err(why) => {
                let text = found.unwrap_err();
                assert!(text.starts_with("FOREBAY_CGROUP=/") && text.contains(why), "{text}");
            }
        }
    }
}

#[test]
fn without_a_group_that_was_left_to_the_process_none_is_made() {
    let why = find(None, "0::/\n", "30 24 0:26 / /nowhere rw - cgroup2 cgroup2 rw\n").unwrap_err();
    assert!(why.starts_with("no control group is delegated to this process"), "{why}");
}

#[test]
fn a_home_is_made_ready_and_rid_of_what_dead_processes_left() {
    let directory =
        made_up(&[("cgroup.controllers", "memory\n"), ("cgroup.subtree_control", ""), ("cgroup.procs", "")]);
    let there = |name: &str| directory.path().join(name);
    // In a container the process before this one had the same number.
    let before = format!("forebay-{}-7", std::process::id());
    let (dead, alive, other) = ("forebay-999999999-0", "forebay-1-0", "somebodys");
    for name in [dead, &before, alive, other] {
        fs::create_dir(there(name)).unwrap();
    }
    let home = Home::at(directory.path()).unwrap();
    home.prepare().unwrap();
    assert_eq!(fs::read_to_string(there("cgroup.subtree_control")).unwrap(), "+memory");
    assert_eq!([dead, &before, alive, other].map(|name| there(name).exists()), [false, false, true, true]);
}

#[test]
fn a_name_that_somebody_has_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home { directory: directory.path().to_owned(), version: Version::Two };
    let taken = |number| directory.path().join(format!("forebay-{}-{number}", std::process::id()));
    for number in 0..100 {
        fs::create_dir(taken(number)).unwrap();
    }
    let group = Group::make(&home, 64 << 20).unwrap();
    assert_eq!(fs::read_to_string(group.file("memory.max")).unwrap(), "67108864");
    assert!((0..100).all(|number| taken(number) != group.directory));
}

#[test]
fn a_group_has_its_limit_its_processes_and_an_end() {
    for (version, limit) in [(Version::Two, "memory.max"), (Version::One, "memory.limit_in_bytes")] {
        let directory = tempfile::tempdir().unwrap();
        let home = Home { directory: directory.path().to_owned(), version };
        let group = Group::make(&home, 64 << 20).unwrap();
        assert_eq!(fs::read_to_string(group.file(limit)).unwrap(), "67108864");
        group.take_in(|| vec![999_999_991, 999_999_992]).unwrap();
        assert_eq!(fs::read_to_string(group.file("cgroup.procs")).unwrap(), "999999992", "one after the other");
        // The files of a real group go with it.
        for entry in fs::read_dir(&group.directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(group.end());
        assert!(!group.directory.exists());
        assert!(group.end(), "it is gone, and may be so");
    }
}

#[test]
fn what_the_kernel_killed_is_seen() {
    let table = [
        (Version::Two, "memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\noom_group_kill 1\n", true),
        (Version::Two, "memory.events", "low 0\nhigh 0\nmax 31\noom 0\noom_kill 0\n", false),
        (Version::One, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", true),
        (Version::One, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", false),
        (Version::One, "another", "", false),
    ];
    for (version, file, text, expected) in table {
        let directory = made_up(&[(file, text)]);
        let group = Group { directory: directory.path().to_owned(), version };
        assert_eq!(group.has_killed(), expected, "{text}");
    }
}
