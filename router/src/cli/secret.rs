//! Secrets on the way in: a token or a password from an operand, a file or standard input.
//!
//! Owns where they may come from and who else may read the file. Knows nothing of what they are worth.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{JoinArgs, PeerAddress};

/// What a host joins by.
pub(crate) enum JoinSecret {
    /// A join token.
    Token(Zeroizing<String>),
    /// The cluster's password.
    Password(Zeroizing<String>),
}

impl JoinArgs {
    /// Where members of the cluster listen.
    pub(crate) fn addresses(&self) -> Vec<PeerAddress> {
        // `check` has refused what does not parse.
        self.address_words().iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Reads what the host joins by, from wherever it is.
    ///
    /// # Errors
    /// [`SecretError`] if there is nothing to read, too much, or everybody can read it.
    pub(crate) fn read_secret(&self) -> Result<JoinSecret, SecretError> {
        if let Some(path) = &self.password_file {
            return read_password(path).map(JoinSecret::Password);
        }
        let token = match (&self.token_file, self.operands.first()) {
            (Some(path), _) => read_file(path)?,
            (None, Some(word)) if word != "-" => Zeroizing::new(word.clone()),
            (None, _) => read_bounded(io::stdin().lock(), Path::new("standard input"))?,
        };
        Ok(JoinSecret::Token(Zeroizing::new(token.trim().to_owned())))
    }

    /// Says what clap cannot see: which operands are addresses, and that there are some.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.address_words().is_empty() {
            return Err(
                "no address: say where a member of the cluster listens, such as host1 or 192.0.2.1:6783".to_owned()
            );
        }
        for word in self.address_words() {
            word.parse::<PeerAddress>().map_err(|wrong| format!("invalid value for <ADDRESS>: {wrong}"))?;
        }
        Ok(())
    }

    fn address_words(&self) -> &[String] {
        let token_operand = self.password_file.is_none() && self.token_file.is_none();
        self.operands.get(usize::from(token_operand)..).unwrap_or_default()
    }
}

/// Reads a password: all of the file but a newline at its end.
///
/// # Errors
/// [`SecretError`] if there is nothing to read, too much, or everybody can read it.
pub(crate) fn read_password(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let text = read_file(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.len() < SHORTEST_PASSWORD {
        return Err(SecretError::Short { path: path.to_owned(), length: line.len() });
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} can be read by every user of this host (mode {mode:04o}); make it private: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} holds no secret: it is empty", path.display())]
    Empty { path: PathBuf },
    #[error("the password in {} has {length} bytes, at least {SHORTEST_PASSWORD} are needed; for example: head -c 18 /dev/urandom | base64", path.display())]
    Short { path: PathBuf, length: usize },
    #[error("{} holds no secret: it is longer than {LONGEST} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("{} holds no secret: it is not text", path.display())]
    NotText { path: PathBuf },
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let unreadable = |source| SecretError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // A pipe (`<(…)`, /dev/stdin) has a mode too, but nobody else has its other end.
    if metadata.is_file() && metadata.mode() & 0o007 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: metadata.permissions().mode() & 0o7777 });
    }
    read_bounded(file, path)
}

fn read_bounded(from: impl Read, path: &Path) -> Result<Zeroizing<String>, SecretError> {
    // Allocated once, so that growing leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let limit = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
    from.take(limit).read_to_end(&mut bytes).map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if bytes.len() > LONGEST {
        return Err(SecretError::TooLong { path: path.to_owned() });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText { path: path.to_owned() })?;
    if text.trim().is_empty() {
        return Err(SecretError::Empty { path: path.to_owned() });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Shorter ones fall to guessing in an afternoon, stretched or not.
const SHORTEST_PASSWORD: usize = 10;

/// Far above any token or sensible password, far below a file given by mistake.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests;
