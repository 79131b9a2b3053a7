//! The words of the command line, one tree for the daemon and the operator.
//!
//! Owns names, defaults and help texts, and carries out the verbs that only ask a running router. Knows nothing of how
//! a router is made or run: `init`, `join` and `router` are parsed here and done elsewhere.

mod address;
mod ask;
mod duration;
mod failure;
mod help;
mod install;
mod leases;
mod moves;
mod peers;
mod pool;
mod print;
mod ps;
mod secret;
mod status;
#[cfg(test)]
mod tests;
mod tokens;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use wire::{PeerName, Pool};

pub(crate) use address::{DEFAULT_PORT, PeerAddress, UnderlayAddress};
pub(crate) use ask::run;
pub(crate) use failure::report;
pub(crate) use pool::PoolChoice6;
pub(crate) use secret::{JoinSecret, SecretError, read_password};

/// The bridge of a router that is not told otherwise.
pub(crate) const DEFAULT_BRIDGE: &str = "raddle0";

/// The command line. Made by [`parse`].
#[derive(Parser)]
#[command(name = "raddle", version, about = help::ABOUT, after_help = help::ROOT, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes, before or after its name.
#[derive(clap::Args)]
#[command(next_help_heading = "Which router")]
pub(crate) struct Globals {
    /// Where the router keeps its keys and its ledger
    #[arg(long, global = true, env = "RADDLE_DATA_DIR", value_name = "DIR", default_value = control_api::DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// Where the router takes commands
    #[arg(long, global = true, env = "RADDLE_CONTROL_SOCKET", value_name = "PATH", default_value = control_api::DEFAULT_SOCKET)]
    pub(crate) control_socket: PathBuf,
    /// How to print: text for people, or exactly one JSON object
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make this host the first of a new cluster
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Make this host a member of a cluster that exists
    #[command(after_help = help::JOIN, override_usage = help::JOIN_USAGE)]
    Join(JoinArgs),
    /// Run the router in the foreground
    #[command(after_help = help::ROUTER)]
    Router(RouterArgs),
    #[command(flatten)]
    Client(ClientVerb),
}

/// The verbs that ask a running router.
#[derive(Debug, PartialEq, Subcommand)]
pub(crate) enum ClientVerb {
    /// Make, list and withdraw join tokens
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Token(TokenVerb),
    /// Show how the router is, and what to look at
    #[command(after_help = help::STATUS)]
    Status,
    /// List the other routers of the cluster, and how this one reaches them
    #[command(after_help = help::PEERS)]
    Peers,
    /// List the containers attached to this host
    #[command(after_help = help::PS)]
    Ps,
    /// List who has which address
    #[command(after_help = help::LEASES)]
    Leases,
    /// List which workload's address moved when, from where to where, and why
    #[command(after_help = help::MOVES)]
    Moves(MovesArgs),
    /// Also try to reach routers at these addresses
    #[command(after_help = help::CONNECT)]
    Connect(AddressArgs),
    /// No longer try these addresses
    #[command(after_help = help::FORGET)]
    Forget(AddressArgs),
    /// Keep an address for a workload before its first start
    #[command(after_help = help::RESERVE)]
    Reserve(ReserveArgs),
    /// Take a workload's address to another host, for its next start there
    #[command(after_help = help::MOVE)]
    Move(MoveArgs),
    /// Give up a held address before its time
    #[command(after_help = help::RELEASE)]
    Release(ReleaseArgs),
    /// Take everything from routers that are gone for good
    #[command(after_help = help::REVOKE)]
    Revoke(RevokeArgs),
    /// Give this router a new handshake key, while it runs
    #[command(after_help = help::RENEW)]
    Renew,
    /// Put the CNI plugin and its configuration where container runtimes look for them
    #[command(after_help = help::INSTALL_CNI)]
    InstallCni(InstallCniArgs),
    /// Print the version
    Version,
}

/// What can be done with tokens.
#[derive(Debug, PartialEq, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token that lets another host join
    #[command(after_help = help::TOKEN_CREATE)]
    Create(TokenCreateArgs),
    /// List the tokens that this router made
    #[command(after_help = help::TOKEN_LIST)]
    List,
    /// Make a token good for nothing, before it is used up or expires
    #[command(after_help = help::TOKEN_WITHDRAW)]
    Withdraw(TokenWithdrawArgs),
}

/// Operands of `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// What to call this router [default: the host name]
    #[arg(long)]
    pub(crate) name: Option<PeerName>,
    /// The IPv4 addresses of all containers, 8 to 28 prefix bits
    #[arg(long, value_name = "CIDR", default_value_t = pool::DEFAULT_POOL, value_parser = pool::parse_pool)]
    pub(crate) pool: Pool,
    /// Containers' IPv6 addresses, at most 96 prefix bits; without a value: a random ULA
    #[arg(long, value_name = "CIDR", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub(crate) pool6: Option<PoolChoice6>,
    /// How many addresses a router is given at a time, a power of two
    #[arg(long, value_name = "ADDRESSES", default_value_t = pool::DEFAULT_BLOCK_SIZE, value_parser = pool::parse_block_size)]
    pub(crate) block_size: u32,
    /// Also let routers join that know the password in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl InitArgs {
    /// What `router --password-file` begins a cluster with: the defaults.
    pub(crate) fn for_password(name: PeerName) -> Self {
        let (pool, block_size) = (pool::DEFAULT_POOL, pool::DEFAULT_BLOCK_SIZE);
        Self { name: Some(name), pool, pool6: None, block_size, password_file: None }
    }
}

/// Operands of `join`: [`JoinArgs::read_secret`] and [`JoinArgs::addresses`] tell them apart.
#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    #[arg(
        help = "The token (- reads it from standard input), then members: HOST, HOST:PORT, [V6]:PORT",
        value_name = "TOKEN ADDRESS",
        required = true,
        hide_possible_values = true
    )]
    operands: Vec<String>,
    /// Read the token from this file; the operands are addresses only
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    token_file: Option<PathBuf>,
    /// Join by the password in this file; the operands are addresses only
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What to call this router [default: the host name]
    #[arg(long)]
    pub(crate) name: Option<PeerName>,
}

/// Operands of `router`.
#[derive(Debug, clap::Args)]
pub(crate) struct RouterArgs {
    #[arg(
        help = "Where other routers listen, beside those already known: HOST, HOST:PORT, [V6]:PORT",
        value_name = "PEER"
    )]
    pub(crate) peers: Vec<PeerAddress>,
    #[arg(
        help = "Where to listen, UDP and TCP [default: [::]:6783, or 0.0.0.0:6783 without IPv6]",
        long,
        value_name = "ADDRESS[:PORT]"
    )]
    pub(crate) listen: Option<UnderlayAddress>,
    /// Be reached here, not at the addresses of the interfaces; may be repeated
    #[arg(long, value_name = "ADDRESS[:PORT]", value_delimiter = ',', action = ArgAction::Append)]
    pub(crate) advertise: Vec<UnderlayAddress>,
    /// The bridge that containers are attached to; made when missing
    #[arg(long, value_name = "NAME", default_value = DEFAULT_BRIDGE, value_parser = address::parse_interface)]
    pub(crate) bridge: String,
    /// The router's own port on that bridge
    #[arg(long, value_name = "NAME", default_value = "raddle-tap", value_parser = address::parse_interface)]
    pub(crate) tap: String,
    /// How many data threads, each with its own queues [default: chosen by the number of processors]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) queues: Option<u8>,
    /// How to seal data: chacha20-poly1305 insists; the others prefer AES, auto only where the processor has it
    #[arg(long, value_enum, value_name = "SUITE", default_value_t = Cipher::Auto)]
    pub(crate) cipher: Cipher,
    /// The MTU of new containers; where the cluster has IPv6, 1280 at least [default: what the smallest path carries, followed as it changes]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..))]
    pub(crate) mtu: Option<u16>,
    /// Also let routers join that know the password in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What to call this router if it is new [default: the host name]
    #[arg(long, requires = "password_file")]
    pub(crate) name: Option<PeerName>,
}

/// What a router offers its peers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cipher {
    Auto,
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// Operands of `token create`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct TokenCreateArgs {
    /// For how long it can be used: 90s, 10m, 1h30m, 2d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    pub(crate) ttl: Duration,
    /// How many hosts it admits
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) uses: u32,
}

/// Operands of `token withdraw`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct TokenWithdrawArgs {
    /// As `raddle token list` shows it, or the beginning of it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Operands of `connect` and `forget`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct AddressArgs {
    #[arg(
        help = "HOST, HOST:PORT or [V6]:PORT; the port is 6783 unless given",
        value_name = "ADDRESS",
        required = true
    )]
    pub(crate) addresses: Vec<PeerAddress>,
}

/// Operands of `reserve`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct ReserveArgs {
    /// The workload key that its container will have
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// This address and no other
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Option<std::net::Ipv4Addr>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Operands of `move`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct MoveArgs {
    /// The workload key, as `raddle leases` shows it
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// The router it goes to: a name or an identity, as `raddle peers` shows them
    #[arg(long, value_name = "HOST", required_unless_present = "cancel")]
    pub(crate) to: Option<String>,
    /// Do not wait for a container that still has the address: cut it off
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Call off a move that waits for its workload to stop
    #[arg(long, conflicts_with_all = ["to", "take_over"])]
    pub(crate) cancel: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Operands of `moves`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct MovesArgs {
    /// Only those of this workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
}

/// Which of a workload's addresses.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The network it has its address on
    #[arg(long, value_name = "NAME", default_value = control_api::DEFAULT_NETWORK)]
    pub(crate) network: String,
    /// The interface inside its container
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    pub(crate) interface: String,
}

/// Operands of `release`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// The workload key, as `raddle leases` shows it
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// The network it has its address on
    #[arg(long, value_name = "NAME", default_value = control_api::DEFAULT_NETWORK)]
    pub(crate) network: String,
}

/// Operands of `revoke`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Names or identities, as `raddle peers` shows them
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Also those whom these let in, directly or through others, and who are not connected to this router
    #[arg(long)]
    pub(crate) with_admitted: bool,
}

/// Operands of `install-cni`.
#[derive(Debug, PartialEq, clap::Args)]
pub(crate) struct InstallCniArgs {
    /// Where the runtime looks for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(crate) bin_dir: PathBuf,
    /// Where the runtime looks for networks
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub(crate) conf_dir: PathBuf,
}

/// Reads the command line of this process. On wrong usage says so on standard error and exits with status 2.
pub(crate) fn parse() -> Args {
    try_parse(std::env::args_os()).unwrap_or_else(|wrong| wrong.exit())
}

/// Reads a command line.
///
/// # Errors
/// What clap says, `--help` and `--version` included.
pub(crate) fn try_parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Args, clap::Error> {
    let args = Args::try_parse_from(words)?;
    if let Command::Join(join) = &args.command {
        join.check().map_err(|wrong| {
            let mut root = Args::command();
            root.build();
            match root.find_subcommand_mut("join") {
                Some(join) => join.error(ErrorKind::ValueValidation, wrong),
                None => root.error(ErrorKind::ValueValidation, wrong),
            }
        })?;
    }
    Ok(args)
}
