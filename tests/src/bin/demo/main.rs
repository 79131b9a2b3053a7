//! The main job, end to end, told as a story: a web server is moved to another host and keeps its address.
//!
//! Decides the order of events and how they are told. What is measured, and how, is in `fetches` and in the stage.
#![forbid(unsafe_code)]

mod fetches;
mod story;

use std::io::Write as _;

use anyhow::{Result, bail};

use crate::story::{Figures, Story};

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
        Form::Text => tell(&figures)?,
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

fn tell(figures: &Figures) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n  address of web    {} before, {} after", figures.address_before, figures.address_after)?;
    writeln!(out, "  MAC of web        {} before, {} after", figures.mac_before, figures.mac_after)?;
    writeln!(out, "  fetches           {} in all, {} failed", figures.fetches, figures.failed_fetches)?;
    writeln!(
        out,
        "  longest gap       {} ms between two good fetches (podman needs {} ms of it)",
        figures.gap_ms, figures.engine_ms
    )?;
    writeln!(
        out,
        "  on the underlay   {} bytes encrypted, plaintext found {} times",
        figures.sealed_bytes, figures.plaintext_found
    )?;
    writeln!(
        out,
        "  throughput        {:.2} Gbit/s, container to container, host 3 to host 1",
        figures.throughput_gbps
    )?;
    Ok(())
}
