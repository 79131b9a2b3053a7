//! Waits for whichever comes first: a frame, a datagram, a word from another thread, or a deadline.
//!
//! Owns the one place where a data thread sleeps. Knows nothing of what it is woken for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Wakes a thread that sleeps in [`wait`]. Cheap to clone; waking twice is waking once.
#[derive(Debug, Clone)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

/// What [`wait`] woke up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// The tap queue has a frame.
    pub tap: bool,
    /// The socket has a datagram.
    pub udp: bool,
    /// [`Waker::wake`] was called. It is forgotten with this.
    pub woken: bool,
}

impl Waker {
    /// Makes one.
    ///
    /// # Errors
    /// What the kernel says: no descriptors are left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(sys::eventfd()?) })
    }

    /// Ends the current or the next [`wait`].
    pub fn wake(&self) {
        // It fails only when 2^64 - 2 wakes are pending, and then the thread is woken anyhow.
        let _ = sys::add(self.event.as_fd());
    }
}

/// Lets the calling thread's sleeps end when they should. The kernel makes them up to 50 µs longer otherwise, to wake
/// several threads at once (`PR_SET_TIMERSLACK`).
pub fn keep_time() {
    // The least there is. The kernel refuses it to nobody.
    sys::set_timer_slack(1);
}

/// Sleeps until one of the three is ready or `timeout` has passed; for ever without one. A signal ends it early.
///
/// # Errors
/// What the kernel says; the descriptors are open, so only a lack of memory.
pub fn wait(tap: BorrowedFd<'_>, udp: BorrowedFd<'_>, waker: &Waker, timeout: Option<Duration>) -> io::Result<Ready> {
    let [tap, udp, woken] = match sys::poll([tap, udp, waker.event.as_fd()], timeout) {
        Ok(ready) => ready,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => [false; 3],
        Err(error) => return Err(error),
    };
    if woken {
        // Non-blocking, and only this thread reads it.
        let _ = sys::clear(waker.event.as_fd());
    }
    Ok(Ready { tap, udp, woken })
}

/// One function per system call: no logic, no loops, no other caller than the module above.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::os::fd::{AsRawFd, FromRawFd};

    use super::{BorrowedFd, Duration, OwnedFd, io};

    pub(super) fn eventfd() -> io::Result<OwnedFd> {
        // SAFETY: `eventfd` takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(super) fn add(event: BorrowedFd<'_>) -> io::Result<()> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `event` is open for the call, which reads the eight bytes of `one`.
        let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if written == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn clear(event: BorrowedFd<'_>) -> io::Result<()> {
        let mut count = [0_u8; 8];
        // SAFETY: `event` is open for the call, which writes the eight bytes of `count`.
        let read = unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if read == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn set_timer_slack(nanoseconds: libc::c_ulong) {
        // SAFETY: `PR_SET_TIMERSLACK` takes a number and no pointer.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
    }

    pub(super) fn poll(fds: [BorrowedFd<'_>; 3], timeout: Option<Duration>) -> io::Result<[bool; 3]> {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            // Less than a second.
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut polled = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        // SAFETY: the descriptors are borrowed, so they are open, `polled` holds the three that are counted, `timeout` is
        // null or outlives the call, and no signal mask is given.
        let rc = unsafe { libc::ppoll(polled.as_mut_ptr(), 3, timeout, std::ptr::null()) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(polled.map(|fd| fd.revents != 0)) }
    }
}

#[cfg(test)]
mod tests;
