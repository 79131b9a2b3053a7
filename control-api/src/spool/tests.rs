use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::words::OwnerKind;

fn release(number: u8) -> Release {
    Release {
        attachment: Attachment {
            network: "raddle".to_owned(),
            container_id: format!("c{number}"),
            ifname: "eth0".to_owned(),
            cni_network: "mesh".to_owned(),
            owner_kind: OwnerKind::Cni,
        },
        host_interface: format!("rd00000000000{number}"),
    }
}

fn releases(folder: &Path) -> Vec<Release> {
    pending(folder).unwrap().releases.into_iter().map(|spooled| spooled.release).collect()
}

#[test]
fn what_is_stored_is_pending_until_it_is_done() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data").join(FOLDER);
    assert_eq!(pending(&folder).unwrap(), Pending::default());
    for number in [2, 1, 2] {
        store(&folder, &release(number)).unwrap();
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(releases(&folder), [release(1), release(2)]);
    assert_eq!(releases(&folder), [release(1), release(2)], "reading takes nothing away");
    let first = pending(&folder).unwrap().releases.remove(0);
    first.clone().done().unwrap();
    first.done().unwrap();
    assert_eq!(releases(&folder), [release(2)]);
}

#[test]
fn what_is_unfinished_is_not_read_and_what_is_damaged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store(folder, &release(1)).unwrap();
    let whole = fs::read(folder.join("rd000000000001.json")).unwrap();
    fs::write(folder.join(".rd000000000002.77"), &whole).unwrap();
    fs::write(folder.join("notes.txt"), &whole).unwrap();
    fs::write(folder.join("rd000000000003.json"), &whole[..whole.len() / 2]).unwrap();
    let newer = String::from_utf8(whole).unwrap().replace("\"version\":1", "\"version\":2");
    fs::write(folder.join("rd000000000004.json"), newer).unwrap();
    let found = pending(folder).unwrap();
    assert_eq!(found.releases.len(), 1);
    assert_eq!(found.unreadable, [folder.join("rd000000000003.json"), folder.join("rd000000000004.json")]);
}

#[test]
fn a_field_of_a_later_release_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path(), &release(1)).unwrap();
    let path = folder.path().join("rd000000000001.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"version\":1", "\"version\":1,\"later\":[1]");
    fs::write(&path, text).unwrap();
    assert_eq!(releases(folder.path()), [release(1)]);
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", ".", "../x", "a/b", ".hidden"] {
        let release = Release { host_interface: name.to_owned(), ..release(1) };
        assert!(store(folder.path(), &release).is_err(), "{name:?}");
    }
    assert_eq!(pending(folder.path()).unwrap(), Pending::default());
}

#[test]
fn a_spool_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let wrong = store(&file.join(FOLDER), &release(1)).unwrap_err();
    assert!(wrong.to_string().contains("file/spool"), "{wrong}");
}
