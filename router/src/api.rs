//! The control socket: who may speak, one line in, one line out.
//!
//! Owns the socket file and its connections. Knows nothing of what a request means: that is the control loop's.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control_api::{Answer, ApiError, ErrorKind, Reply, Request, server};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A request and where its reply goes.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Reply<Answer>>,
    pub(crate) client: Client,
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Client(Arc<OwnedWriteHalf>);

impl Client {
    /// Whether nobody waits for the reply any more. One that has only said its last word still does.
    pub(crate) fn has_hung_up(&self) -> bool {
        matches!(self.0.try_write(&[]), Err(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The socket file; removed when dropped.
pub(crate) struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    group: Option<u32>,
}

impl ControlSocket {
    /// Makes the socket, mode 0660, group `raddle` where the host has one. A stale one is replaced, a live one is
    /// not, nor is anything else.
    pub(crate) fn bind(path: &Path) -> Result<Self, BindControlError> {
        let failed = |source| BindControlError::Bind { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindControlError::InUse { path: path.to_owned() });
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(BindControlError::Foreign { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let group = group_line().and_then(|line| line.split(':').nth(2)?.parse().ok());
        chown(path, None, group).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener, group })
    }

    /// Serves for ever. Calls go to the control loop; when it cannot keep up, clients wait.
    pub(crate) async fn serve(self, calls: mpsc::Sender<Call>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket did not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !self.may_speak(&stream) {
                continue;
            }
            let calls = calls.clone();
            tokio::spawn(async move {
                let _ = converse(stream, calls, IDLE).await;
                drop(place);
            });
        }
    }

    /// Root, the router's own user, and the group's members: the file's mode says the same, the kernel's word is checked.
    fn may_speak(&self, stream: &UnixStream) -> bool {
        let Ok(peer) = stream.peer_cred() else { return false };
        let own = std::fs::metadata("/proc/self").map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata)).ok();
        let allowed =
            peer.uid() == 0 || Some(peer.uid()) == own || self.group == Some(peer.gid()) || is_member(peer.uid());
        if !allowed {
            tracing::warn!(uid = peer.uid(), "refused on the control socket: neither root nor in group raddle");
        }
        allowed
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One connection: requests in turn until the client hangs up, or has nothing to say for so long.
async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>, idle: Duration) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let client = Client(Arc::new(writer));
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(server::LONGEST_REQUEST + 1).unwrap_or(u64::MAX);
        let mut limited = (&mut reader).take(limit);
        if within(idle, limited.read_until(b'\n', &mut line)).await? == 0 {
            return Ok(());
        }
        let reply = match server::parse_request(&line) {
            Ok(request) => ask(&calls, request, client.clone()).await?,
            Err(error) => Reply::Error(error),
        };
        within(idle, client.write(&server::emit_reply(&reply))).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

async fn within<T>(idle: Duration, done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(idle, done).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(calls: &mpsc::Sender<Call>, request: Request, client: Client) -> io::Result<Reply<Answer>> {
    let (reply, answer) = oneshot::channel();
    let stopped = || Reply::Error(ApiError::new(ErrorKind::TryAgain, "the router is stopping"));
    if calls.send(Call { request, reply, client: client.clone() }).await.is_err() {
        return Ok(stopped());
    }
    tokio::select! {
        answer = answer => Ok(answer.unwrap_or_else(|_| stopped())),
        () = hung_up(&client) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// An answer may wait for a disk or another router for any time; nobody holds a place for one who waits no more.
async fn hung_up(client: &Client) {
    while !client.has_hung_up() {
        tokio::time::sleep(LOOK).await;
    }
}

fn group_line() -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find(|line| line.starts_with("raddle:")).map(str::to_owned)
}

fn is_member(uid: u32) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let (Some(name), Some(group)) = (name, group_line()) else { return false };
    group.rsplit(':').next().is_some_and(|members| members.split(',').any(|member| member == name))
}

/// Why there is no control socket. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindControlError {
    #[error("another router answers on {}; stop it, or name another socket with --control-socket", path.display())]
    InUse { path: PathBuf },
    #[error("{} is something else than a control socket; name another file with --control-socket", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot make the control socket {}: {source}", path.display())]
    Bind { path: PathBuf, source: io::Error },
}

/// More than a host starts containers at once; fewer than file descriptors.
const CONNECTIONS: usize = 512;
/// Longer than anybody who has connected takes to ask; a place that is held for nothing keeps an ADD out.
const IDLE: Duration = Duration::from_secs(30);
/// How often it is asked whether somebody still waits: seldom enough to cost nothing, often enough to free places.
const LOOK: Duration = Duration::from_secs(1);
/// Out of file descriptors passes; spinning on it does not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
