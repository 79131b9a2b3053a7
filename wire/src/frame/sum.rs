//! The Internet checksum's arithmetic (RFC 1071, RFC 1624): one's complement, sixteen bits.
//!
//! Owns sums that are not complemented. Knows no header.

/// Adds the big-endian 16-bit words of `bytes` to a sum. An odd last byte counts as the high half of a word.
pub(super) fn add_bytes(sum: u32, bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&byte| u32::from(byte) << 8);
    // 32 bits hold 65,536 words, and no caller sums more than a header.
    words.fold(sum.wrapping_add(odd), |sum, word| match word {
        &[high, low] => sum.wrapping_add(u32::from(u16::from_be_bytes([high, low]))),
        _ => sum,
    })
}

/// Folds the carries back until sixteen bits are left.
pub(super) fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    u16::try_from(twice).unwrap_or(u16::MAX)
}

/// The sum in which `old` is replaced by `new` (RFC 1624, equation 3).
pub(super) fn replace(sum: u16, old: u16, new: u16) -> u16 {
    fold(u32::from(sum) + u32::from(!old) + u32::from(new))
}
