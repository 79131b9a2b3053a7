use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::*;

const WITHIN: Duration = Duration::from_secs(10);

fn place(directory: &Path) -> Place {
    Place { network: "raddle".to_owned(), control_socket: directory.join("c"), spool: directory.join("spool") }
}

/// Hears one question on each of so many connections, and answers all but the first few, on which it hangs up.
fn serve(socket: PathBuf, hangs_up: usize) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for number in 0..=hangs_up {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            if number == hangs_up {
                stream.write_all(b"{\"ok\":{}}\n").unwrap();
            }
        }
    })
}

fn ask(place: &Place, within: Duration) -> (usize, Result<(), Unanswered>) {
    let mut asked = 0;
    let answer = call_until_answered(place, within, |client| {
        asked += 1;
        client.ready("raddle".to_owned(), false)
    });
    (asked, answer)
}

#[test]
fn a_router_that_is_not_there_yet_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(directory.path());
    let answer = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&place, WITHIN));
        // Nobody listens when the first call is made; when it is made does not matter to what must come of it.
        thread::sleep(3 * PAUSE);
        serve(place.control_socket.clone(), 0).join().unwrap();
        asking.join().unwrap()
    });
    assert!(matches!(answer, (1, Ok(()))), "{answer:?}");
}

#[test]
fn a_router_that_goes_away_before_it_has_answered_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(directory.path());
    let serving = serve(place.control_socket.clone(), 2);
    let answer = ask(&place, WITHIN);
    assert!(matches!(answer, (3, Ok(()))), "{answer:?}");
    serving.join().unwrap();
}

#[test]
fn where_nobody_answers_it_is_said_whether_somebody_has_heard() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(directory.path());
    let (asked, answer) = ask(&place, 3 * PAUSE);
    assert!(asked == 0 && answer.is_err_and(|unanswered| !unanswered.is_doubtful));

    // It hears one question, answers none, and is gone for good: the last attempts meet nobody.
    let listener = UnixListener::bind(&place.control_socket).unwrap();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        BufReader::new(&stream).read_line(&mut String::new()).unwrap();
    });
    let (asked, answer) = ask(&place, 10 * PAUSE);
    serving.join().unwrap();
    assert_eq!(asked, 1);
    assert!(answer.is_err_and(|unanswered| unanswered.is_doubtful && is_away(&unanswered.wrong)));
}

#[test]
fn an_answer_is_an_answer_though_it_be_no() {
    let directory = tempfile::tempdir().unwrap();
    let place = place(directory.path());
    let listener = UnixListener::bind(&place.control_socket).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        stream.write_all(b"{\"error\":{\"code\":\"exhausted\",\"message\":\"full\"}}\n").unwrap();
    });
    let (asked, answer) = ask(&place, WITHIN);
    assert_eq!(asked, 1);
    assert!(answer.is_err_and(|no| !no.is_doubtful && matches!(no.wrong, ClientError::Refused(_))));
    serving.join().unwrap();
}

#[test]
fn what_was_asked_may_be_done_unless_nobody_can_have_heard_it() {
    let socket = PathBuf::from("/run/raddle/control.sock");
    let gone = |kind: ErrorKind| ClientError::Unreachable { socket: socket.clone(), source: kind.into() };
    for kind in [ErrorKind::NotFound, ErrorKind::ConnectionRefused] {
        assert!(!may_be_done(&gone(kind)) && is_away(&gone(kind)), "{kind:?}");
    }
    // The second: a path that is too long for a socket.
    for kind in [ErrorKind::PermissionDenied, ErrorKind::InvalidInput] {
        assert!(!may_be_done(&gone(kind)) && !is_away(&gone(kind)), "{kind:?}");
    }
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset] {
        assert!(may_be_done(&gone(kind)) && is_away(&gone(kind)), "{kind:?}");
    }
    let late = ClientError::TimedOut { socket: socket.clone(), timeout: ADD_WITHIN };
    assert!(may_be_done(&late) && !is_away(&late));
}
