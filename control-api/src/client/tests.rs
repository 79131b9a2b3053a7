//! The client against a listener that answers as it is told to.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use tempfile::TempDir;

use super::*;
use crate::server::parse_request;
use crate::words::ErrorKind;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Answers one connection's requests with `replies`, then hangs up; returns the requests.
fn router(replies: Vec<Vec<u8>>) -> (TempDir, PathBuf, JoinHandle<Vec<Request>>) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let router = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut requests = Vec::new();
        for reply in replies {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).unwrap();
            requests.push(parse_request(&line).unwrap());
            // A client that gave up is part of some tests.
            let _ = (&stream).write_all(&reply);
        }
        requests
    });
    (directory, socket, router)
}

#[test]
fn one_connection_serves_many_calls() {
    let replies = vec![b"{\"ok\":{}}\n".to_vec(), b"{\"ok\":{\"peers\":[]}}\n".to_vec()];
    let (_directory, socket, router) = router(replies);
    let mut client = Client::connect(&socket, LONG).unwrap();
    client.ready("raddle".into(), false).unwrap();
    assert_eq!(client.peers().unwrap(), Peers::default());
    assert_eq!(
        router.join().unwrap(),
        [Request::Ready { network: "raddle".into(), masquerade: false }, Request::Peers]
    );
}

#[test]
fn a_refusal_keeps_kind_and_remedy() {
    let line = b"{\"error\":{\"code\":\"read-only\",\"message\":\"disk full\",\"remedy\":\"make room\"}}\n";
    let (_directory, socket, _router) = router(vec![line.to_vec()]);
    let refused = Client::connect(&socket, LONG).unwrap().ready("raddle".into(), false).unwrap_err();
    let ClientError::Refused(error) = refused else { panic!("{refused}") };
    assert_eq!((error.code, error.remedy.as_deref()), (ErrorKind::ReadOnly, Some("make room")));
}

#[test]
fn a_missing_socket_is_named() {
    let missing = Client::connect("/nonexistent/control.sock", LONG).unwrap_err();
    assert_eq!(missing.to_string(), "no router answers at /nonexistent/control.sock");
    assert!(matches!(missing, ClientError::Unreachable { source, .. } if source.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_router_that_hangs_up_is_unreachable() {
    let (_directory, socket, _router) = router(vec![b"{\"ok\":".to_vec()]);
    let gone = Client::connect(&socket, LONG).unwrap().status().unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }), "{gone}");
}

#[test]
fn a_silent_router_times_out() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut client = Client::connect(&socket, SHORT).unwrap();
    let silent = client.status().unwrap_err();
    assert!(matches!(silent, ClientError::TimedOut { timeout: SHORT, .. }), "{silent}");
    // The late reply must not answer the next request.
    assert!(matches!(client.peers().unwrap_err(), ClientError::Unreachable { .. }));
}

#[test]
fn what_is_no_reply_is_a_protocol_error() {
    for line in [&b"HTTP/1.1 400 Bad Request\n"[..], b"{\"ok\":{\"peers\":7}}\n", b"\xff\xfe\n", b"\n"] {
        let (_directory, socket, _router) = router(vec![line.to_vec()]);
        let odd = Client::connect(&socket, LONG).unwrap().peers().unwrap_err();
        assert!(matches!(odd, ClientError::Protocol { .. }), "{odd}");
    }
}

#[test]
fn a_reply_without_end_is_cut_off() {
    let (_directory, socket, _router) = router(vec![vec![b'x'; LONGEST_REPLY + READ_BYTES]]);
    let endless = Client::connect(&socket, LONG).unwrap().peers().unwrap_err();
    assert!(matches!(&endless, ClientError::Protocol { said, .. } if said.contains("longer than")), "{endless}");
}

#[test]
fn a_request_that_no_router_would_read_is_not_sent() {
    let (_directory, socket, _router) = router(Vec::new());
    let names = vec!["x".repeat(LONGEST_REQUEST)];
    let refused = Client::connect(&socket, LONG).unwrap().revoke(names, false).unwrap_err();
    assert!(matches!(refused, ClientError::RequestTooLong { .. }), "{refused}");
}
