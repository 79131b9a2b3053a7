//! One command that is run to its end, and what came of it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// The exit status; `None` after a signal.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// Returns stdout without the last line end, or an error that quotes the command and what it said.
    pub fn ok(self) -> Result<String> {
        if self.code != Some(0) {
            bail!("{self}");
        }
        Ok(self.stdout.trim_end().to_owned())
    }

    /// Returns stdout as JSON.
    pub fn json(self) -> Result<Value> {
        let line = self.line.clone();
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("`{line}` did not print JSON: {text}"))
    }

    /// Returns the exit status and stderr of a command that was expected to fail.
    pub fn refused(self) -> Result<(i32, String)> {
        match self.code {
            Some(code) if code != 0 => Ok((code, self.stderr)),
            Some(_) | None => bail!("expected a refusal: {self}"),
        }
    }

    /// True if it ended with status 0.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or_else(|| String::from("a signal"), |code| code.to_string());
        write!(f, "`{}` ended with {code}\n{}{}", self.line, self.stdout, self.stderr)
    }
}

/// Runs a command with `input` on its stdin. It bounds its own time: the caller puts `timeout` in front of what may hang.
pub fn run(mut command: Command, input: &[u8]) -> Result<Finished> {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|w| w.to_string_lossy()).collect();
    let line = words.join(" ");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input closes the pipe: that is its business.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for `{line}`"))?;
    Ok(Finished {
        line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
