use std::fs::{Permissions, set_permissions, write};

use tempfile::TempDir;

use super::*;
use crate::cli::{Command, try_parse};

fn file(content: &[u8], mode: u32) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    write(&path, content).unwrap();
    set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

fn join(words: &[&str]) -> JoinArgs {
    let words = ["raddle", "join"].iter().chain(words);
    match try_parse(words).map(|args| args.command) {
        Ok(Command::Join(join)) => join,
        Ok(_) => panic!("another verb"),
        Err(wrong) => panic!("{wrong}"),
    }
}

fn shown(addresses: &[PeerAddress]) -> Vec<String> {
    addresses.iter().map(PeerAddress::to_string).collect()
}

#[test]
fn the_first_operand_is_the_token() {
    let join = join(&["t0ken", "host1", "[::1]:7000"]);
    assert_eq!(shown(&join.addresses()), ["host1:6783", "[::1]:7000"]);
    assert!(matches!(join.read_secret(), Ok(JoinSecret::Token(token)) if *token == "t0ken"));
}

#[test]
fn with_a_token_file_all_operands_are_addresses() {
    let (_directory, path) = file(b"  t0ken\n", 0o600);
    let join = join(&["--token-file", path.to_str().unwrap(), "host1"]);
    assert_eq!(shown(&join.addresses()), ["host1:6783"]);
    assert!(matches!(join.read_secret(), Ok(JoinSecret::Token(token)) if *token == "t0ken"));
}

#[test]
fn with_a_password_file_all_operands_are_addresses() {
    let (_directory, path) = file(b" pass word \r\n", 0o640);
    let join = join(&["--password-file", path.to_str().unwrap(), "host1", "host2"]);
    assert_eq!(shown(&join.addresses()), ["host1:6783", "host2:6783"]);
    assert!(matches!(join.read_secret(), Ok(JoinSecret::Password(password)) if *password == " pass word "));
}

#[test]
fn a_file_that_everybody_can_read_is_refused() {
    for mode in [0o604, 0o644, 0o602, 0o601] {
        let (_directory, path) = file(b"long enough", mode);
        let said = read_password(&path).unwrap_err().to_string();
        assert!(said.contains(&format!("(mode {mode:04o})")) && said.contains("chmod 600"), "{said}");
    }
}

#[test]
fn what_is_no_secret_is_refused() {
    let read = |content: &[u8]| {
        let (_directory, path) = file(content, 0o600);
        read_password(&path).unwrap_err()
    };
    assert!(matches!(read(b""), SecretError::Empty { .. }));
    assert!(matches!(read(b" \n"), SecretError::Empty { .. }));
    assert!(matches!(read(b"123456789\r\n"), SecretError::Short { length: 9, .. }));
    assert!(matches!(read(&[0xff, 0xfe]), SecretError::NotText { .. }));
    assert!(matches!(read(&[b'x'; LONGEST + 1]), SecretError::TooLong { .. }));
    let missing = read_password(Path::new("/nonexistent/secret")).unwrap_err();
    assert_eq!(missing.to_string(), "/nonexistent/secret cannot be read");
}
