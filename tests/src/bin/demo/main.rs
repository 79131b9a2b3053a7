//! The main job, end to end, told as a story: a web server is moved to another host and keeps its address, then a running
//! process with its connection.
//!
//! Decides how it is told. The order of events is in `story`.
#![forbid(unsafe_code)]

mod figures;
mod story;

use std::io::Write as _;

use anyhow::{Result, bail};

use crate::story::Story;

fn main() -> Result<()> {
    let (mut form, mut end) = (Form::Text, End::Clean);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--keep" => end = End::Keep,
            "--output" => match words.next().as_deref() {
                Some("json") => form = Form::Json,
                Some("text") => form = Form::Text,
                other => bail!("--output wants json or text, not {}", other.unwrap_or("nothing")),
            },
            "--output=json" => form = Form::Json,
            "--help" | "-h" => return say(&Form::Text, "usage: scripts/demo [--output json] [--keep]"),
            other => bail!("unknown word {other:?}; usage: scripts/demo [--output json] [--keep]"),
        }
    }
    let mut story = Story::begin(&form)?;
    let figures = story.run()?;
    match form {
        Form::Json => writeln!(std::io::stdout(), "{}", figures.json())?,
        Form::Text => writeln!(std::io::stdout(), "{}", figures.text())?,
    }
    match end {
        End::Clean => drop(story),
        End::Keep => writeln!(std::io::stderr(), "{}", story.keep()?)?,
    }
    Ok(())
}

/// How the figures are printed.
enum Form {
    Text,
    Json,
}

/// What becomes of the hosts.
enum End {
    Clean,
    Keep,
}

/// Prints one line of the story. Under `--output json` stdout is for the object alone.
fn say(form: &Form, line: &str) -> Result<()> {
    match form {
        Form::Text => writeln!(std::io::stdout(), "{line}")?,
        Form::Json => writeln!(std::io::stderr(), "{line}")?,
    }
    Ok(())
}
