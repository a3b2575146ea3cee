//! File systems that send no events for changes made elsewhere: on another machine, or beneath the file system.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, statfs};

/// The numbers by which the kernel tells these file systems, most of them from `linux/magic.h`, and their names.
/// A FUSE file system may be local, but nothing tells whether it is.
const WITHOUT_EVENTS: &[(FsWord, &str)] = &[
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x2003_0528, "orangefs"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
];

/// A path at or below this one whose file system sends no events, and the name of that file system.
pub(crate) fn without_events(path: &Path) -> Option<(PathBuf, &'static str)> {
    let (mut paths, mut folders) = (vec![path.to_owned()], HashSet::new());
    while let Some(path) = paths.pop() {
        if let Some(name) = statfs(&path).ok().and_then(|it| name_without_events(it.f_type)) {
            return Some((path, name));
        }
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_dir);
        // Links may lead to the same folder again.
        if metadata.is_some_and(|folder| folders.insert((folder.dev(), folder.ino()))) {
            paths.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    None
}

fn name_without_events(number: FsWord) -> Option<&'static str> {
    WITHOUT_EVENTS.iter().find(|(without, _)| *without == number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn network_file_systems_send_no_events() {
        for (number, name) in
            [(26_985, "nfs"), (4_283_649_346, "cifs"), (1_702_057_286, "fuse"), (16_914_839, "9p")]
        {
            assert_eq!(name_without_events(number), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs and overlayfs do.
        for number in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(name_without_events(number), None);
        }
    }

    #[test]
    fn a_folder_below_counts() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        symlink(folder.path(), below.join("loop")).unwrap();
        assert_eq!(without_events(folder.path()), None);
        symlink("/proc/version", below.join("version.json")).unwrap();
        assert_eq!(without_events(folder.path()), Some((below.join("version.json"), "proc")));
        assert_eq!(without_events(Path::new("/proc")), Some(("/proc".into(), "proc")));
        assert_eq!(without_events(&folder.path().join("gone")), None);
    }
}
