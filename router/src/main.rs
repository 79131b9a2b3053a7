//! `raddle`: the daemon of a host, and every verb of its operator.
//!
//! Owns nothing but the way from the command line to whoever carries it out.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod clock;
mod config;
mod control;
mod daemon;
mod data;
mod datadir;
mod found;
mod join;
mod memory;
mod storage;
mod streams;
mod token;
mod underlay;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use cli::{Command, Globals, InitArgs, Output};
use config::Config;
use datadir::DataDir;
use wire::{ClusterId, Identity, PeerName};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let args = cli::parse();
    let globals = &args.globals;
    if let Err(error) = hostnet::process::forbid_dumps() {
        cli::report(&error, None);
        return ExitCode::FAILURE;
    }
    let done = match &args.command {
        Command::Client(verb) => return cli::run(globals, verb),
        Command::Init(init) => begin(globals, init),
        Command::Join(operands) => join::by_command(globals, operands),
        Command::Router(router) => {
            log_to_stderr();
            Config::try_from((globals, router)).map_err(Into::into).and_then(|config| daemon::run(&config))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&*error, None);
            ExitCode::FAILURE
        }
    }
}

/// `raddle init`.
fn begin(globals: &Globals, args: &InitArgs) -> anyhow::Result<()> {
    let password = args.password_file.as_deref().map(cli::read_password).transpose()?;
    let data_dir = DataDir::create(&globals.data_dir)?;
    let Begun { name, identity, cluster, pools } =
        begin_cluster(&data_dir, args, password.as_ref(), cli::DEFAULT_BRIDGE)?;
    let text = format!(
        "{name} is the first router of cluster {}, pool {pools}\n\n\
         next:\n  raddle router            run it (or: systemctl start raddle)\n  \
         raddle token create      then 'raddle join TOKEN THIS-HOST' on another host\n",
        cluster.short(),
    );
    let object = serde_json::json!({
        "cluster": cluster.to_string(), "name": name.to_string(), "identity": identity.to_string(), "pool": pools,
    });
    say(globals, &text, &object)
}

/// A cluster that has begun.
pub(crate) struct Begun {
    name: PeerName,
    identity: Identity,
    cluster: ClusterId,
    pools: String,
}

/// Makes this host the first of a cluster.
pub(crate) fn begin_cluster(
    data_dir: &DataDir,
    args: &InitArgs,
    password: Option<&Zeroizing<String>>,
    bridge: &str,
) -> anyhow::Result<Begun> {
    let name = args.name.clone().map_or_else(config::host_name, Ok)?;
    data_dir.refuse_a_second()?;
    found::refuse_overlap(args.pool, args.pool6, bridge)?;
    let founding =
        found::Founding { name: name.clone(), pool: args.pool, pool6: args.pool6, block_slots: args.block_size };
    let keys = found::Keys::prepare(data_dir)?;
    let mut membership = found::found(&founding, &keys);
    let cluster = mesh::cluster_id(&membership.genesis);
    if let Some(password) = password {
        membership.psk = Some(found::stretch(password, cluster).map_err(std::io::Error::other)?);
    }
    let pools = control::pools(&membership.genesis.networks);
    found::settle(data_dir, membership)?;
    Ok(Begun { name, identity: keys.signing.identity(), cluster, pools })
}

/// One answer, as text or as one JSON object.
fn say(globals: &Globals, text: &str, object: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match globals.output {
        Output::Text => out.write_all(text.as_bytes())?,
        Output::Json => writeln!(out, "{object}")?,
    }
    Ok(out.flush()?)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RADDLE_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// Random bytes of the kernel's. A kernel that has none is none to make keys on.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        cli::report(&error, None);
        std::process::abort();
    }
    bytes
}
