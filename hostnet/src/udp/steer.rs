//! The program by which the kernel picks a socket of the group.
//!
//! Owns the rule and its encoding as classic BPF. The program sees the datagram's payload; an index beyond the group, or
//! a datagram too short, falls to socket 0 or to the kernel's own choice, and both cope with strangers.

use std::num::NonZeroU8;

/// The type byte of data envelopes.
const DATA: u32 = 4;
/// The type byte of those that are to be passed on.
const RELAYED: u32 = 6;

/// Socket 0 for everything but data; data of queue *n* to socket 1 + *n* mod queues.
pub(super) fn program(data_queues: NonZeroU8) -> [libc::sock_filter; 8] {
    let load_byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    [
        instruction(load_byte, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, DATA, 1, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, RELAYED, 0, 4),
        instruction(load_byte, 1, 0, 0),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, u32::from(data_queues.get()), 0, 0),
        instruction(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, 1, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    // Every code of classic BPF is below 256.
    libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}
