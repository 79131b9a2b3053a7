use std::fs;

use super::*;

#[test]
fn what_is_no_network_namespace_is_refused_before_anything_is_entered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.as_path(), folder.path(), Path::new("/proc/self/ns/mnt"), Path::new("/proc/cpuinfo")] {
        let refused = Netns::open(path).unwrap_err();
        assert!(matches!(refused, OpenNetnsError::NotANamespace { .. }), "{path:?}: {refused}");
        assert!(is_gone(path));
    }
}

#[test]
fn a_path_without_anything_behind_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone");
    assert!(matches!(Netns::open(&path), Err(OpenNetnsError::Missing { .. })));
    assert!(is_gone(&path));
}

#[test]
fn our_own_namespace_is_refused_however_it_is_called_and_no_containers() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/proc/self/ns/net", &link).unwrap();
    for path in [Path::new("/proc/self/ns/net"), Path::new("/proc/thread-self/ns/net"), link.as_path()] {
        assert!(matches!(Netns::open(path), Err(OpenNetnsError::Own { .. })), "{path:?}");
        assert!(is_gone(path), "{path:?}");
    }
}
