use tokio::io::AsyncWriteExt;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_socket_takes_the_place_of_a_stale_one_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let _entered = runtime.enter();
    let file = folder.path().join("notes");
    std::fs::write(&file, b"mine").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        assert!(matches!(ControlSocket::bind(path), Err(BindControlError::Foreign { .. })), "{path:?}");
        assert_eq!(std::fs::read(path).unwrap(), b"mine");
    }
    let socket = folder.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let bound = ControlSocket::bind(&socket);
    assert!(bound.is_ok());
    assert!(matches!(ControlSocket::bind(&socket), Err(BindControlError::InUse { .. })));
}

#[test]
fn whoever_says_nothing_loses_its_place() {
    runtime().block_on(async {
        let (calls, mut asked) = mpsc::channel(1);
        let idle = Duration::from_millis(50);
        for begun in [b"".as_slice(), b"{\"version\""] {
            let (mut client, served) = UnixStream::pair().unwrap();
            client.write_all(begun).await.unwrap();
            let ended = converse(served, calls.clone(), idle).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        }
        assert!(asked.try_recv().is_err());
    });
}

#[test]
fn whoever_waits_no_more_loses_its_place() {
    runtime().block_on(async {
        let (calls, mut asked) = mpsc::channel(1);
        let (mut client, served) = UnixStream::pair().unwrap();
        let served = tokio::spawn(converse(served, calls, IDLE));
        let mut line = serde_json::to_vec(&serde_json::json!({ "version": 1, "verb": "status" })).unwrap();
        line.push(b'\n');
        client.write_all(&line).await.unwrap();
        // It is never answered.
        let _call = asked.recv().await.unwrap();
        drop(client);
        let ended = tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}
