//! What was committed is there after opening again; nobody else can open it meanwhile.

use super::*;

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
fn every_part_has_a_number_of_its_own() {
    for table in [Table::Meta, Table::Members, Table::Tokens, Table::Ledger(0), Table::Ledger(255)] {
        assert_eq!(Table::of(table.number()), Some(table));
    }
}
