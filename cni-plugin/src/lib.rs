//! What raddle-cni does: attaches containers to a raddle network for a CNI runtime.
//!
//! Owns the call: environment and stdin in, one document on stdout, notes on stderr, an exit status. The router owns
//! addresses, the plugin the container's interface; they meet in one lease.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod attach;
mod check;
mod config;
mod delegate;
mod detach;
mod environment;
mod fault;
mod reply;
mod request;
mod router;
mod status;
mod version;
mod wishes;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::delegate::Delegate;
use crate::environment::Lookup;
use crate::fault::{Code, Fault};
use crate::request::{Call, Refused, Request};
use crate::version::Version;

/// Carries out one call. `lookup` is the environment.
#[must_use]
pub fn run(lookup: Lookup<'_>, stdin: impl Read) -> ExitCode {
    let done = Call::parse(lookup, stdin).and_then(|call| {
        let version = call.version;
        carry_out(call).map_err(|fault| Refused { version, fault })
    });
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

/// Reads one call without carrying it out, with all that a runtime and other plugins may have put into it. The answer is what
/// would be printed if it were refused.
///
/// # Errors
/// The document of the refusal.
pub fn read(lookup: Lookup<'_>, stdin: impl Read) -> Result<(), Value> {
    let read = Call::parse(lookup, stdin).and_then(|call| {
        let version = call.version;
        let checked = match &call.request {
            Request::Check(check) => check::read(check),
            Request::Add(add) => add.previous.as_ref().map_or(Ok(()), delegate::read),
            Request::Banner
            | Request::Version(_)
            | Request::Allocate(_)
            | Request::Del(_)
            | Request::Verify(_)
            | Request::Gc(_)
            | Request::Status(_) => Ok(()),
        };
        checked.map_err(|fault| Refused { version, fault })
    });
    read.map_err(|Refused { version, fault }| reply::fault(version, &fault))
}

fn carry_out(call: Call) -> Result<(), Fault> {
    let Call { version, request, delegate } = call;
    let pass_on = |verb| delegate.as_ref().map_or(Ok(()), |delegate| delegate.call(verb));
    let give_back = || delegate.iter().for_each(Delegate::give_back);
    match request {
        Request::Banner => {
            note(&format!(
                "CNI plugin raddle-cni {}; CNI versions {}; it is started by a container runtime",
                env!("CARGO_PKG_VERSION"),
                Version::ALL.map(Version::as_str).join(", ")
            ));
            Ok(())
        }
        Request::Version(asked) => print(&reply::versions(&asked)),
        Request::Add(mut add) => {
            let outcome = attach::attach(&mut add, delegate.as_ref())?;
            let document = reply::Added::of(version, &add, &outcome).document();
            print(&document).inspect_err(|_| {
                attach::undo(&add.target);
                give_back();
            })
        }
        Request::Allocate(add) => {
            let addresses = attach::allocate(&add)?;
            print(&reply::allocated(version, &add, &addresses)).inspect_err(|_| attach::give_back(&add.target))
        }
        Request::Del(target) => {
            let detached = detach::detach(&target);
            give_back();
            detached
        }
        Request::Check(check) => check::check(&check).and_then(|()| pass_on("CHECK")),
        Request::Verify(target) => check::verify(&target),
        Request::Gc(gc) => {
            let collected = detach::collect(&gc);
            collected.and(pass_on("GC"))
        }
        Request::Status(status) => status::status(&status).and_then(|()| pass_on("STATUS")),
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
