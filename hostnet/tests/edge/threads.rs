//! Where no thread is to be had: what needs one is refused, and nothing ends over it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::*;

/// In the process that gets no threads: a namespace.
const THREADLESS: &str = "RADDLE_TEST_THREADLESS";

#[test]
fn without_a_thread_there_is_an_error_and_no_panic() {
    if let Some(netns) = std::env::var_os(THREADLESS) {
        return is_refused(Path::new(&netns));
    }
    let space = Space::new("container");
    // Root may have as many as it likes, and so nobody may be left who has this limit: a user of our own, who need not be able to
    // walk to the program.
    let user = format!("--reuid={}", 1_000_000 + std::process::id());
    let program = File::open(std::env::current_exe().unwrap()).unwrap();
    let mut confined = Command::new("prlimit");
    confined.args(["--nproc=1", "setpriv", &user, "--clear-groups", "/proc/self/fd/0", "--test-threads=1", "--exact"]);
    confined.arg("threads::without_a_thread_there_is_an_error_and_no_panic");
    let ended = confined.stdin(program).env(THREADLESS, space.path()).output().unwrap();
    let said = text(&[ended.stdout, ended.stderr].concat());
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

fn is_refused(netns: &Path) {
    assert_eq!(link::list().unwrap_err().source.kind(), io::ErrorKind::WouldBlock);
    let entered = Netns::open(netns).unwrap().run(|| ());
    assert_eq!(entered.unwrap_err().source.kind(), io::ErrorKind::WouldBlock);
}
