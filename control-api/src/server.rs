//! The router's end of a line: bytes → [`Request`], [`Reply`] → bytes.
//!
//! Owns how a bad line is answered. Knows nothing of sockets; whoever reads cuts the lines with [`crate::lines::Lines`].

use crate::words::{Answer, ApiError, ErrorKind, Reply, Request};

/// A request that names every container of a very full host in a `gc` is about this long; nothing honest is longer.
pub const LONGEST_REQUEST: usize = 1 << 20;

/// Sixteen times the longest request: `leases` of a cluster with tens of thousands of containers fits.
pub const LONGEST_REPLY: usize = 16 << 20;

/// Reads one request, without its newline.
///
/// # Errors
/// An [`ApiError`] of kind `invalid` that says what is wrong with the line, ready to be sent back.
pub fn parse_request(line: &[u8]) -> Result<Request, ApiError> {
    if line.len() > LONGEST_REQUEST {
        return Err(ApiError::new(ErrorKind::Invalid, format!("a request is longer than {LONGEST_REQUEST} bytes")));
    }
    serde_json::from_slice(line).map_err(|wrong| {
        let said: String = wrong.to_string().chars().take(300).collect();
        ApiError::new(ErrorKind::Invalid, format!("the request cannot be read: {said}"))
            .with_remedy("use the client and the router of one release, one JSON object on a line")
    })
}

/// Writes one reply with its newline. A reply that cannot be written becomes an error reply.
#[must_use]
pub fn emit_reply(reply: &Reply<Answer>) -> Vec<u8> {
    let mut line = match serde_json::to_vec(reply) {
        Ok(line) if line.len() <= LONGEST_REPLY => line,
        Ok(line) => emit_error(&format!("the reply has {} bytes, more than {LONGEST_REPLY}", line.len())),
        Err(wrong) => emit_error(&format!("the reply cannot be written: {wrong}")),
    };
    line.push(b'\n');
    line
}

fn emit_error(message: &str) -> Vec<u8> {
    let reply = Reply::<Answer>::Error(ApiError::new(ErrorKind::Internal, message));
    serde_json::to_vec(&reply).unwrap_or_else(|_| br#"{"error":{"code":"internal","message":""}}"#.to_vec())
}

#[cfg(test)]
mod tests;
