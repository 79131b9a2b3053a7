//! What was committed is there after opening again; nobody else can open it meanwhile.

use super::*;

impl Storage {
    /// Writes changes that are on the disk afterwards, and says that they are not: the disk has failed after it took them.
    pub(crate) fn commit_and_fail(&self, changes: &[Change]) {
        self.commit(changes).unwrap();
        self.failure.set(Arc::new(io(5))).unwrap();
    }
}

fn change(table: Table, key: &[u8], value: Option<&[u8]>) -> Change {
    Change { table, key: key.to_owned(), value: value.map(<[u8]>::to_owned) }
}

#[test]
fn a_commit_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let kept = [change(Table::Meta, b"a", Some(b"1")), change(Table::Ledger(7), b"a", Some(b"2"))];
    {
        let storage = Storage::create(&path).unwrap();
        assert_eq!(storage.load().unwrap(), []);
        storage.commit(&kept).unwrap();
        storage.commit(&[change(Table::Meta, b"b", Some(b"3"))]).unwrap();
        storage.commit(&[change(Table::Meta, b"b", None)]).unwrap();
    }
    assert_eq!(Storage::open(&path).unwrap().load().unwrap(), kept);
}

#[test]
fn a_second_router_is_told_that_the_first_is_running() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let _first = Storage::create(&path).unwrap();
    assert!(matches!(Storage::open(&path), Err(StorageError::InUse { .. })));
}

#[test]
fn every_table_has_a_number_of_its_own() {
    for table in [Table::Meta, Table::Members, Table::Tokens, Table::Ledger(0), Table::Ledger(255)] {
        assert_eq!(Table::of(table.number()), Some(table));
    }
}

fn io(code: i32) -> redb::Error {
    redb::Error::Io(io::Error::from_raw_os_error(code))
}

#[test]
fn what_the_kernel_says_of_a_disk_decides_what_is_to_be_done() {
    let (enoent, eio, enospc, erofs, edquot) = (2, 5, 28, 30, 122);
    let told = [
        (io(enospc), Ailment::Full),
        (io(edquot), Ailment::Full),
        (io(erofs), Ailment::ReadOnly),
        (io(enoent), Ailment::Missing),
        (io(eio), Ailment::Failing),
        (redb::Error::PreviousIo, Ailment::Failing),
        (redb::Error::Corrupted("a page".to_owned()), Ailment::Damaged),
    ];
    for (error, ailment) in told {
        assert_eq!(Ailment::of(&error), ailment, "{error}");
    }
}

#[test]
fn nothing_is_written_after_a_failure_until_the_file_was_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = Storage::create(&directory.path().join("store")).unwrap();
    let (kept, lost) = ([change(Table::Meta, b"a", Some(b"1"))], [change(Table::Meta, b"b", Some(b"2"))]);
    storage.commit(&kept).unwrap();
    storage.failure.set(Arc::new(io(28))).unwrap();
    assert_eq!(storage.commit(&lost).unwrap_err().ailment(), Ailment::Full);
    assert_eq!(storage.reopen().unwrap(), kept);
    storage.commit(&lost).unwrap();
}

#[test]
fn a_copy_does_not_take_the_place_of_a_file_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("store"), directory.path().join("copy"));
    let mut storage = Storage::create(&path).unwrap();
    storage.commit(&[change(Table::Meta, b"a", Some(b"1"))]).unwrap();
    fs::copy(&path, &copy).unwrap();
    fs::rename(&path, directory.path().join("original")).unwrap();
    assert_eq!(storage.reopen().unwrap_err().ailment(), Ailment::Missing);
    fs::rename(&copy, &path).unwrap();
    assert!(matches!(storage.reopen(), Err(StorageError::Replaced { .. })));
    fs::rename(directory.path().join("original"), &path).unwrap();
    storage.reopen().unwrap();
}

#[test]
fn a_store_is_for_its_owners_eyes_and_never_made_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(Storage::create(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(Storage::create(&path), Err(StorageError::Open { .. })));
}
