//! `raddle install-cni`: the plugin where runtimes look for it, then the configuration that makes them use it.
//!
//! Owns the order: a runtime that sees the configuration can attach containers at once. Knows nothing of what the plugin does.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use control_api::{Client, ClientError};
use serde::Serialize;
use serde_json::Value;

use super::{Globals, InstallCniArgs};

/// What is installed.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    binary: PathBuf,
    conflist: PathBuf,
    /// Whether there was none before.
    conflist_written: bool,
}

/// Why it is not, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    /// The router does not answer, or is not ready.
    #[error(transparent)]
    Router(#[from] ClientError),
    /// The plugin is not beside this program.
    #[error("there is no plugin {}", path.display())]
    NoPlugin {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The plugin runs anywhere, and takes no relative path.
    #[error("{} cannot be made an absolute path", path.display())]
    Relative {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be put in place; what was there still is.
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Puts both files in place. The plugin is installed even if the router does not answer; the configuration is not.
pub(super) fn install(
    globals: &Globals,
    args: &InstallCniArgs,
    connect: impl FnOnce() -> Result<Client, ClientError>,
) -> Result<Installed, InstallError> {
    let binary = args.bin_dir.join(PLUGIN);
    put(&binary, &plugin()?, EXECUTABLE)?;
    connect()?.ready(control_api::DEFAULT_NETWORK.to_owned(), false)?;
    let conflist = args.conf_dir.join(CONFLIST);
    // An operator may have put other plugins behind ours.
    let conflist_written = !conflist.exists();
    if conflist_written {
        put(&conflist, configuration(globals)?.as_bytes(), READABLE)?;
    }
    Ok(Installed { binary, conflist, conflist_written })
}

/// What is installed, for people.
pub(super) fn text(installed: &Installed) -> String {
    let Installed { binary, conflist, conflist_written } = installed;
    let kept = if *conflist_written { "" } else { "  (was there, left as it is)" };
    format!("plugin         {}\nconfiguration  {}{kept}\n", binary.display(), conflist.display())
}

/// The plugin of the same release: it lies beside this program.
fn plugin() -> Result<Vec<u8>, InstallError> {
    let beside = std::env::current_exe().map(|own| own.with_file_name(PLUGIN));
    let path = beside.unwrap_or_else(|_| PLUGIN.into());
    fs::read(&path).map_err(|source| InstallError::NoPlugin { path, source })
}

/// The sample configuration, for the router that was named.
fn configuration(globals: &Globals) -> Result<String, InstallError> {
    let sample: Result<Value, _> = serde_json::from_str(include_str!("../../../cni-plugin/10-raddle.conflist"));
    let mut whole = sample.unwrap_or_default();
    let places = [
        ("dataDir", &globals.data_dir, control_api::DEFAULT_DATA_DIR),
        ("controlSocket", &globals.control_socket, control_api::DEFAULT_SOCKET),
    ];
    for (key, path, default) in places {
        let absolute = std::path::absolute(path);
        let path = absolute.map_err(|source| InstallError::Relative { path: path.clone(), source })?;
        if let Some(plugin) = whole.pointer_mut("/plugins/0").and_then(Value::as_object_mut)
            && path != Path::new(default)
        {
            plugin.insert(key.to_owned(), path.display().to_string().into());
        }
    }
    Ok(format!("{whole:#}\n"))
}

/// Whole or not at all: a runtime that is just starting the old plugin goes on with it.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    let written = write_beside(path, bytes, mode);
    written.map_err(|source| InstallError::Write { path: path.to_owned(), source })
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Runtimes read every `.conflist` of their directory: this is none.
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let done = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done?;
    File::open(folder)?.sync_all()
}

const PLUGIN: &str = "raddle-cni";
/// Runtimes that are told no name take the first in order.
const CONFLIST: &str = "10-raddle.conflist";
const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;

#[cfg(test)]
mod tests;
