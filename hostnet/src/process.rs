//! Processes: what others may see of this one, and the end of one that it has started.
//!
//! Keeps the memory of a process that holds keys out of core dumps and other users' debuggers. Knows no key.

use std::io;

/// From now on the kernel writes no core dump of this process, and only root may look into its memory.
///
/// # Errors
/// The kernel refused; nothing has changed.
pub fn forbid_dumps() -> io::Result<()> {
    sys::set_dumpable(0)
}

/// Kills a process group: whoever leads it, and all that it has started.
///
/// # Errors
/// There is no such group, or it is another user's.
pub fn kill_group(leader: u32) -> io::Result<()> {
    let group = i32::try_from(leader).ok().filter(|leader| *leader > 1).ok_or(io::ErrorKind::InvalidInput)?;
    sys::kill(-group, libc::SIGKILL)
}

/// The calling thread gets a processor when nobody else wants it, or nearly so (nice 19).
///
/// # Errors
/// The kernel refused; nothing has changed.
pub fn yield_to_others() -> io::Result<()> {
    sys::set_thread_nice(19)
}

/// One function per system call.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::io;

    pub(super) fn set_dumpable(dumpable: libc::c_ulong) -> io::Result<()> {
        // SAFETY: `PR_SET_DUMPABLE` takes a number and no pointer.
        let rc = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn kill(target: libc::pid_t, signal: libc::c_int) -> io::Result<()> {
        // SAFETY: `kill` takes two numbers and no pointer.
        let rc = unsafe { libc::kill(target, signal) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn set_thread_nice(nice: libc::c_int) -> io::Result<()> {
        // SAFETY: `setpriority` takes no pointer; with `PRIO_PROCESS` and 0, Linux sets the calling thread alone.
        let rc = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_group_goes_with_all_that_its_leader_has_started() {
        let mut command = Command::new("sh");
        let child = command.args(["-c", "sleep 1000 & wait"]).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        super::kill_group(child.id()).unwrap();
        // Its end comes when nobody has stdout open any more: the sleeper neither.
        assert!(!child.wait_with_output().unwrap().status.success());
        for nobody in [0, 1, u32::MAX] {
            super::kill_group(nobody).unwrap_err();
        }
    }

    #[test]
    fn a_process_that_forbids_dumps_belongs_to_root_in_proc() {
        super::forbid_dumps().unwrap();
        // proc(5): files of a process that is not dumpable belong to root, whoever runs it.
        let owner = std::fs::metadata("/proc/self/environ").map(|file| std::os::unix::fs::MetadataExt::uid(&file));
        assert_eq!(owner.unwrap(), 0);
    }

    #[test]
    fn a_thread_that_yields_is_the_only_one_that_does() {
        let nice = || -> i64 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // proc_pid_stat(5): the 19th field; the second may hold spaces and ends with a parenthesis.
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
        };
        let before = nice();
        let there = std::thread::spawn(move || super::yield_to_others().map(|()| nice())).join().unwrap();
        assert_eq!((there.unwrap(), nice()), (19, before));
    }
}
