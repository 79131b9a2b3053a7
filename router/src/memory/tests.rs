//! What a store holds beyond what was decided goes.

use super::*;

fn row(table: Table, key: u8, value: u8) -> Change {
    Change { table, key: vec![key], value: Some(vec![value]) }
}

/// The certificate of a renewal, an admission and a used token are on the disk, although it was said that they are not.
#[test]
fn a_write_that_failed_and_is_on_the_disk_is_undone() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = Storage::create(&directory.path().join("store")).unwrap();
    let decided = vec![meta("certificate", vec![1]), row(Table::Members, 1, 1), row(Table::Tokens, 1, 1)];
    let others = [meta("genesis", vec![0]), row(Table::Ledger(1), 1, 1), row(Table::Ledger(200), 1, 1)];
    storage.commit(&[decided.as_slice(), &others].concat()).unwrap();
    let failing = [
        meta("certificate", vec![2]),
        row(Table::Members, 1, 2),
        row(Table::Members, 2, 1),
        row(Table::Tokens, 1, 0),
        row(Table::Tokens, 2, 1),
    ];
    storage.commit_and_fail(&failing);
    assert!(storage.commit(&decided).is_err());
    let rows = storage.reopen().unwrap();
    assert!(failing.iter().all(|row| rows.contains(row)), "{rows:?}");
    storage.commit(&corrections(&rows, decided.clone())).unwrap();
    let mut expected = [decided.as_slice(), &others].concat();
    expected.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    assert_eq!(storage.load().unwrap(), expected);
}

#[test]
fn a_token_that_the_disk_has_lost_comes_back() {
    let decided = vec![row(Table::Tokens, 1, 1)];
    assert_eq!(corrections(&[], decided.clone()), decided);
}
