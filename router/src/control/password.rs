//! The cluster's password while the router runs: read from its file, stretched, and kept for the next start.
//!
//! Owns the thread that does so, since it takes a moment of a core. What follows from another password is the loop's to say.

use std::io;

use anyhow::Context;
use mesh::Secret;
use tokio::sync::mpsc;
use wire::ClusterId;

use super::inputs::{Lookup, Occasion};
use crate::config::Config;
use crate::datadir::{DataDir, SecretFile};
use crate::found::stretch;

/// Reads the file beside the loop, which hears of it as [`Lookup::Password`], also when nothing came of it. A start is not delayed
/// by it, nor is anything else that wants the core: after a power cut many routers start at once.
pub(super) fn read_beside(config: &Config, cluster: ClusterId, occasion: Occasion, lookups: mpsc::Sender<Lookup>) {
    let (config, unstarted) = (config.clone(), lookups.clone());
    let work = move || {
        let psk = read(&config, cluster, occasion);
        let psk = psk.inspect_err(|error| tracing::error!("the password stays as it is: {error:#}")).ok();
        drop(lookups.blocking_send(Lookup::Password(psk, occasion)));
    };
    if let Err(error) = std::thread::Builder::new().name("password".to_owned()).spawn(work) {
        tracing::error!(%error, "the password stays as it is: no thread to stretch it");
        drop(unstarted.try_send(Lookup::Password(None, occasion)));
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
