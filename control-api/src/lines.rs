//! Cuts what a socket gives into lines of bounded length.
//!
//! Owns the unfinished line. Knows nothing of sockets or JSON.

/// Collects bytes until a line is whole.
#[derive(Debug)]
pub struct Lines {
    buffered: Vec<u8>,
    /// How many leading bytes are known to hold no newline, so that a long line is searched once.
    searched: usize,
    longest: usize,
}

impl Lines {
    /// Takes lines of at most `longest` bytes, the newline not counted.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { buffered: Vec::new(), searched: 0, longest }
    }

    /// Appends what was read.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
    }

    /// Returns the next whole line without its newline, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`LineTooLong`] if more than the bound has arrived and no newline. The rest of the conversation cannot be understood.
    pub fn poll_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let unsearched = self.buffered.iter().skip(self.searched);
        let found = unsearched.clone().position(|&byte| byte == b'\n').map(|offset| self.searched + offset);
        let length = found.unwrap_or(self.buffered.len());
        if length > self.longest {
            return Err(LineTooLong { longest: self.longest });
        }
        let Some(end) = found else {
            self.searched = self.buffered.len();
            return Ok(None);
        };
        let rest = self.buffered.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffered, rest);
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }

    /// Whether nothing is left of an unfinished line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffered.is_empty()
    }
}

/// A line longer than the bound.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {longest} bytes")]
pub struct LineTooLong {
    /// The bound.
    pub longest: usize,
}

#[cfg(test)]
mod tests;
