//! What others may see of this process.
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

/// One function per system call.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::io;

    pub(super) fn set_dumpable(dumpable: libc::c_ulong) -> io::Result<()> {
        // SAFETY: `PR_SET_DUMPABLE` takes a number and no pointer.
        let rc = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_that_forbids_dumps_belongs_to_root_in_proc() {
        super::forbid_dumps().unwrap();
        // proc(5): files of a process that is not dumpable belong to root, whoever runs it.
        let owner = std::fs::metadata("/proc/self/environ").map(|file| std::os::unix::fs::MetadataExt::uid(&file));
        assert_eq!(owner.unwrap(), 0);
    }
}
