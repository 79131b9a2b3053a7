//! raddle-cni: attaches containers to a raddle network for a CNI runtime.
//!
//! Owns the process: environment and stdin in, one document on stdout, notes on stderr, an exit status. The router owns
//! addresses, the plugin the container's interface; they meet in one lease.

#![forbid(unsafe_code)]

mod arguments;
mod attach;
mod check;
mod config;
mod detach;
mod environment;
mod fault;
mod reply;
mod request;
mod router;
mod status;
mod version;
mod wishes;

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::fault::{Code, Fault};
use crate::request::{Call, Refused, Request};
use crate::version::Version;

fn main() -> ExitCode {
    let lookup = |name: &str| std::env::var_os(name);
    let done = Call::parse(&lookup, io::stdin().lock())
        .and_then(|Call { version, request }| carry_out(version, &request).map_err(|fault| Refused { version, fault }));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused { version, fault }) => {
            // Where stdout is gone as well there is nobody left to tell but the log.
            if print(&reply::fault(version, &fault)).is_err() {
                note(&fault.message);
            }
            ExitCode::FAILURE
        }
    }
}

fn carry_out(version: Version, request: &Request) -> Result<(), Fault> {
    match request {
        Request::Banner => {
            note(&format!(
                "CNI plugin raddle-cni {}; CNI versions {}; it is started by a container runtime",
                env!("CARGO_PKG_VERSION"),
                Version::ALL.map(Version::as_str).join(", ")
            ));
            Ok(())
        }
        Request::Version(asked) => print(&reply::versions(asked)),
        Request::Add(add) => {
            let outcome = attach::attach(add)?;
            let document = reply::Added::of(version, add, &outcome).document();
            print(&document).inspect_err(|_| attach::undo(&add.target))
        }
        Request::Del(target) => detach::detach(target),
        Request::Check(check) => check::check(check),
        Request::Gc(gc) => detach::collect(gc),
        Request::Status(place) => status::status(place),
    }
}

/// Nothing else ever goes to stdout.
fn print(document: &Value) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{document}").and_then(|()| stdout.flush());
    printed.map_err(|wrong| Fault::new(Code::InputOutput, "stdout cannot be written").with_details(wrong.to_string()))
}

/// A line for the runtime's log.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "raddle-cni: {line}");
}
