use proptest::prelude::*;

use super::*;
use crate::words::Done;

#[test]
fn a_bad_line_is_answered_with_what_is_wrong_with_it() {
    let said = |line: &str| parse_request(line.as_bytes()).unwrap_err();
    assert!(
        said(r#"{"verb":"fly"}"#).message.contains("unknown variant `fly`"),
        "{}",
        said(r#"{"verb":"fly"}"#).message
    );
    assert!(said(r#"{"verb":"token-create","uses":1}"#).message.contains("missing field `ttl_s`"));
    assert!(said("{}").message.contains("missing field `verb`"));
    assert_eq!(said("").code, ErrorKind::Invalid);
}

#[test]
fn an_endless_request_is_not_even_read() {
    assert!(parse_request(&vec![b' '; LONGEST_REQUEST + 1]).unwrap_err().message.contains("longer than 1048576 bytes"));
}

#[test]
fn deep_nesting_is_an_error() {
    assert!(parse_request("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn fields_of_a_newer_client_are_passed_over() {
    assert_eq!(parse_request(br#"{"verb":"status","since":"tomorrow"}"#), Ok(Request::Status));
}

#[test]
fn a_reply_is_one_line() {
    let error = ApiError::new(ErrorKind::Held, "two\nlines");
    for reply in [Reply::Ok(Answer::Done(Done {})), Reply::Error(error)] {
        let line = emit_reply(&reply);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_request(&bytes);
    }

    #[test]
    fn nearly_a_request_is_a_request_or_an_error(verb in "[a-z-]{0,16}", key in "[a-z_]{0,16}", value in r#"[\[\]{}",:0-9a-z\\]{0,24}"#) {
        let line = format!(r#"{{"verb":"{verb}","{key}":{value}}}"#);
        if let Err(refusal) = parse_request(line.as_bytes()) {
            prop_assert!(refusal.message.len() < 1000);
        }
    }
}
