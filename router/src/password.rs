//! The cluster's password while the router runs: read from its file, stretched, and kept for the next start.
//!
//! Owns the thread that does so, since it takes a moment of a core. What follows from another password is the loop's to say.

use std::io;

use anyhow::Context;
use mesh::Secret;
use tokio::sync::mpsc;
use wire::ClusterId;

use crate::config::Config;
use crate::control::Found;
use crate::datadir::{DataDir, SecretFile};
use crate::found::stretch;

/// Why the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The router has started, and goes by what it kept until it knows better.
    Start,
    /// The operator says that there is another one.
    Asked,
}

/// Reads the file beside the loop, which hears of it as [`Found::Password`], also when nothing came of it. A start is not delayed
/// by it, nor is anything else that wants the core: after a power cut many routers start at once.
pub(crate) fn read_beside(config: &Config, cluster: ClusterId, occasion: Occasion, found: mpsc::Sender<Found>) {
    let (config, unstarted) = (config.clone(), found.clone());
    let work = move || {
        let psk = read(&config, cluster, occasion);
        let psk = psk.inspect_err(|error| tracing::error!("the password stays as it is: {error:#}")).ok();
        drop(found.blocking_send(Found::Password(psk, occasion)));
    };
    if let Err(error) = std::thread::Builder::new().name("password".to_owned()).spawn(work) {
        tracing::error!(%error, "the password stays as it is: no thread to stretch it");
        drop(unstarted.try_send(Found::Password(None, occasion)));
    }
}

fn read(config: &Config, cluster: ClusterId, occasion: Occasion) -> anyhow::Result<Secret> {
    let file = config.password_file.as_deref().context("no password file was named")?;
    let password = crate::cli::read_password(file)?;
    if occasion == Occasion::Start {
        hostnet::process::yield_to_others().context("this thread cannot be made the last in the queue")?;
    }
    let psk = stretch(&password, cluster).map_err(io::Error::other)?;
    DataDir::create(&config.data_dir)?.keep_secret(SecretFile::Psk, &psk)?;
    Ok(psk)
}
