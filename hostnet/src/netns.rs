//! Opens a container's network namespace and runs code inside it.
//!
//! Owns the check that a path really is a network namespace and not the host's own. Creates none, removes none.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::own_thread;

/// A network namespace that is not the one we are in. Open: the path may go, the namespace stays.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace behind `/run/netns/NAME`, `/proc/PID/ns/net` or a link to one.
    ///
    /// # Errors
    /// [`OpenNetnsError`]; nothing was entered.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenNetnsError> {
        let path = path.as_ref().to_owned();
        // Without O_NONBLOCK a FIFO of that name would hold us until somebody writes to it.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Err(OpenNetnsError::Missing { path }),
            Err(source) => return Err(OpenNetnsError::Unreadable { path, source }),
        };
        if !is_network_namespace(&file) {
            return Err(OpenNetnsError::NotANamespace { path });
        }
        let is_own = same_file(&file, OWN).map_err(|source| OpenNetnsError::Unreadable { path: OWN.into(), source })?;
        if is_own { Err(OpenNetnsError::Own { path }) } else { Ok(Self { file, path }) }
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor, for requests that name a namespace by it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Runs `inside` on a thread of its own that has entered the namespace. The thread ends with it, so that no thread is
    /// ever left in a namespace that is not its own.
    ///
    /// # Errors
    /// [`EnterNetnsError`] when the namespace cannot be entered; `inside` has not run.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, EnterNetnsError> {
        let enter = || sys::setns(self.file.as_fd()).map(|()| inside());
        let entered = own_thread::run(enter).unwrap_or_else(Err);
        entered.map_err(|source| EnterNetnsError { path: self.path.clone(), source })
    }
}

/// Whether a container's namespace is gone: nothing is behind the path, or something that is no namespace, or our own. To that
/// one no container was ever attached: the process whose number is in the path is another one by now. Of such a process it is
/// found out also by a router that may not trace it, and so not open its namespace.
#[must_use]
pub fn is_gone(path: &Path) -> bool {
    use OpenNetnsError::{Missing, NotANamespace, Own, Unreadable};
    match Netns::open(path) {
        Err(Missing { .. } | NotANamespace { .. } | Own { .. }) => true,
        Err(Unreadable { .. }) => has_our_interfaces(path).unwrap_or(false),
        Ok(_) => false,
    }
}

/// Whether the process of `/proc/PID/ns/net` is in our own namespace: `/proc` shows its interfaces to everybody, and the file
/// that it does so in is another one for every namespace.
fn has_our_interfaces(path: &Path) -> Option<bool> {
    let process = path.parent().filter(|_| path.starts_with("/proc") && path.ends_with("ns/net"))?.parent()?;
    let (ours, theirs) = (std::fs::metadata(OWN_INTERFACES).ok()?, std::fs::metadata(process.join("net/dev")).ok()?);
    Some(is_same(&ours, &theirs))
}

fn is_network_namespace(file: &File) -> bool {
    // The magic number first: only namespace files answer the request as we mean it.
    sys::file_system(file.as_fd()).is_ok_and(|magic| magic == NSFS_MAGIC)
        && sys::namespace_type(file.as_fd()).is_ok_and(|kind| kind == libc::CLONE_NEWNET)
}

fn same_file(file: &File, path: &str) -> io::Result<bool> {
    Ok(is_same(&std::fs::metadata(path)?, &file.metadata()?))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.dev() == other.dev() && one.ino() == other.ino()
}

/// Of the thread, not the process: a caller may have entered another namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// The interfaces of the same.
const OWN_INTERFACES: &str = "/proc/thread-self/net/dev";

/// `NSFS_MAGIC` of linux/magic.h, which libc does not have for all targets.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Why a path was not taken for a container's network namespace. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenNetnsError {
    /// The container is gone, or was never there.
    #[error("there is no network namespace {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Something else lives there.
    #[error("{} is not a network namespace", path.display())]
    NotANamespace {
        /// The path.
        path: PathBuf,
    },
    /// A recycled process id in `/proc/PID/ns/net` leads there.
    #[error("{} is the host's own network namespace", path.display())]
    Own {
        /// The path.
        path: PathBuf,
    },
    /// The kernel would not let us look.
    #[error("{} cannot be opened", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The kernel did not let us into a namespace.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be entered", path.display())]
pub struct EnterNetnsError {
    /// The path it was opened by.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// One function per system call: no logic, no other caller than the module above.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// `_IO(NSIO, 0x3)` of linux/nsfs.h.
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

    pub(super) fn setns(netns: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: `setns` takes no pointer, and `netns` is borrowed, so it is open for the call.
        let rc = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn file_system(file: BorrowedFd<'_>) -> io::Result<i64> {
        let mut answer = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: `answer` is writable and as long as the kernel expects; `file` is open for the call.
        let rc = unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) };
        if rc == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the kernel has filled `answer`.
        let answer = unsafe { answer.assume_init() };
        Ok(answer.f_type)
    }

    pub(super) fn namespace_type(namespace: BorrowedFd<'_>) -> io::Result<i32> {
        // SAFETY: this request takes no argument, and `namespace` is open for the call.
        let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
        if kind == -1 { Err(io::Error::last_os_error()) } else { Ok(kind) }
    }
}

#[cfg(test)]
mod tests;
