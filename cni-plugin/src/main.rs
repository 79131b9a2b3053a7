//! raddle-cni: the program that a CNI runtime starts.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cni_plugin::run(&|name| std::env::var_os(name), std::io::stdin().lock())
}
