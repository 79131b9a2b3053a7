//! The verbs that ask a running router: one connection, one question, one answer printed.
//!
//! Owns which question a verb is and how its answer is drawn. Knows nothing of how the router answers.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use control_api::{Client, Done, Lease, MoveState, Moved, Renewed, Revoked, TokenCreated};
use serde::Serialize;

use super::failure::{CliError, PATIENCE, REVOKE_PATIENCE, report};
use super::{
    ClientVerb, Globals, Output, PeerAddress, PlaceArgs, TokenVerb, install, leases, moves, peers, print, ps, status,
    tokens,
};

/// Carries out a client verb and says how it went.
pub(crate) fn run(globals: &Globals, verb: &ClientVerb) -> ExitCode {
    match answer(globals, verb, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough: `raddle leases | head`.
        Err(CliError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, error.remedy().as_deref());
            ExitCode::FAILURE
        }
    }
}

pub(super) fn answer(globals: &Globals, verb: &ClientVerb, out: &mut dyn io::Write) -> Result<(), CliError> {
    let connect = || Client::connect(&globals.control_socket, PATIENCE);
    let output = globals.output;
    match verb {
        ClientVerb::InstallCni(args) => show(output, out, &install::install(globals, args, connect)?, install::text),
        ClientVerb::Version => show(output, out, &Version { version: env!("CARGO_PKG_VERSION") }, version),
        ClientVerb::Token(verb) => answer_about_tokens(globals, verb, out),
        ClientVerb::Status => show(output, out, &connect()?.status()?, status::text),
        ClientVerb::Peers => {
            let mut answer = connect()?.peers()?;
            answer.peers.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
            show(output, out, &answer, peers::text)
        }
        ClientVerb::Ps => {
            let mut answer = connect()?.ps()?;
            answer.containers.sort_by(|a, b| (&a.network, a.address).cmp(&(&b.network, b.address)));
            show(output, out, &answer, ps::text)
        }
        ClientVerb::Leases => {
            let mut answer = connect()?.leases()?;
            answer.leases.sort_by(|a, b| (&a.network, a.address).cmp(&(&b.network, b.address)));
            show(output, out, &answer, leases::text)
        }
        ClientVerb::Moves(args) => show(output, out, &moves::of(args, connect()?.moves()?), moves::text),
        ClientVerb::Connect(args) => {
            connect()?.connect_peers(written(&args.addresses))?;
            show(output, out, &Done {}, nothing)
        }
        ClientVerb::Forget(args) => {
            connect()?.forget_peers(written(&args.addresses))?;
            show(output, out, &Done {}, nothing)
        }
        ClientVerb::Reserve(args) => {
            let PlaceArgs { network, interface } = &args.place;
            let lease = connect()?.reserve(network.clone(), args.workload.clone(), interface.clone(), args.address)?;
            show(output, out, &lease, reserved)
        }
        ClientVerb::Move(args) => {
            let PlaceArgs { network, interface } = args.place.clone();
            match args.to.clone() {
                Some(to) => {
                    let moved =
                        connect()?.move_workload(network, args.workload.clone(), interface, to, args.take_over)?;
                    show(output, out, &moved, on_its_way)
                }
                None => {
                    connect()?.cancel_move(network, args.workload.clone(), interface)?;
                    show(output, out, &Done {}, nothing)
                }
            }
        }
        ClientVerb::Release(args) => {
            connect()?.release_workload(args.network.clone(), args.workload.clone())?;
            show(output, out, &Done {}, nothing)
        }
        ClientVerb::Renew => show(output, out, &connect()?.renew()?, renewed),
        ClientVerb::Revoke(args) => {
            let mut client = Client::connect(&globals.control_socket, REVOKE_PATIENCE)?;
            show(output, out, &client.revoke(args.names.clone(), args.with_admitted)?, revoked)
        }
    }
}

fn answer_about_tokens(globals: &Globals, verb: &TokenVerb, out: &mut dyn io::Write) -> Result<(), CliError> {
    let (mut client, output) = (Client::connect(&globals.control_socket, PATIENCE)?, globals.output);
    match verb {
        TokenVerb::Create(args) => show(output, out, &client.token_create(args.ttl, args.uses)?, token),
        TokenVerb::List => {
            let mut answer = client.token_list()?;
            answer.tokens.sort_by(|a, b| (a.expires_s, &a.id).cmp(&(b.expires_s, &b.id)));
            show(output, out, &answer, tokens::text)
        }
        TokenVerb::Withdraw(args) => {
            client.token_withdraw(args.id.clone())?;
            show(output, out, &Done {}, nothing)
        }
    }
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

fn show<T: Serialize>(
    output: Output,
    out: &mut dyn io::Write,
    answer: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), CliError> {
    let printed = match output {
        Output::Text => text(answer),
        Output::Json => print::json(answer).map_err(CliError::Print)?,
    };
    out.write_all(printed.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Print)
}

fn version(version: &Version) -> String {
    format!("raddle {}\n", version.version)
}

/// The token alone: it is made to be read by a script or a person's clipboard.
fn token(created: &TokenCreated) -> String {
    format!("{}\n", created.token)
}

fn nothing(_: &Done) -> String {
    String::new()
}

fn reserved(lease: &Lease) -> String {
    format!("{} is kept for {}\n", lease.address.address, print::plain(&lease.workload))
}

fn renewed(renewed: &Renewed) -> String {
    let mut text = format!("this router has a new handshake key (generation {})\n", renewed.generation);
    if !renewed.away.is_empty() {
        let away: Vec<_> = renewed.away.iter().map(|name| print::plain(name)).collect();
        let _ = writeln!(text, "not connected, and told when they return: {}", away.join(", "));
    }
    text
}

fn on_its_way(moved: &Moved) -> String {
    let (workload, to) = (print::plain(&moved.workload), print::plain(&moved.to));
    match (moved.state, &moved.holder, &moved.container_id) {
        (MoveState::Waiting, Some(holder), Some(container)) => format!(
            "{workload} still runs on {} in container {}; its address goes to {to} when it stops\n",
            print::plain(holder),
            print::plain(container)
        ),
        _ => format!("the address of {workload} is on {to}, for its next start there\n"),
    }
}

fn revoked(answer: &Revoked) -> String {
    let mut text = String::new();
    for name in &answer.revoked {
        let _ = writeln!(text, "{} is revoked, its addresses have passed on", print::plain(name));
    }
    text
}

fn written(addresses: &[PeerAddress]) -> Vec<String> {
    addresses.iter().map(PeerAddress::to_string).collect()
}
