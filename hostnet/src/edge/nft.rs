//! Has the command `nft` load rules: the one way in for whole tables.
//!
//! Owns the process. Knows nothing of what the rules say.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// Loads the text in one transaction.
///
/// # Errors
/// [`NftError`]; the kernel's rules are what they were.
pub(super) fn run(text: &str) -> Result<(), NftError> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(NftError::Missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read to the end has something to say, and says it.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(NftError::Missing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NftError::Refused { said: said.chars().take(300).collect() })
}

/// Why rules were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no `nft` to load them with.
    #[error("the command nft, of the package nftables, cannot be run")]
    Missing(#[source] io::Error),
    /// It did not take them.
    #[error("nft says {said:?}")]
    Refused {
        /// Its words, cut to 300 characters.
        said: String,
    },
}
