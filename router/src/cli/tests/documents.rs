//! That `docs/cli.md` says what is built: every verb and flag is in it, and every JSON example is one.

use std::fmt::Debug;

use clap::CommandFactory;
use control_api::{Containers, Lease, Leases, Moved, Moves, Peers, Renewed, Revoked, Status, TokenCreated, Tokens};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::Args;

const DOCUMENT: &str = include_str!("../../../../docs/cli.md");

/// The text between a heading and the next of the same rank.
fn section(heading: &str) -> &'static str {
    let (_, rest) =
        DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading:?}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

fn example<T: Serialize + DeserializeOwned + Debug>(heading: &str) {
    let (_, rest) = section(heading).split_once("```json\n").unwrap_or_else(|| panic!("no example in {heading:?}"));
    let (json, _) = rest.split_once("\n```").unwrap();
    let parsed: T = serde_json::from_str(json).unwrap_or_else(|wrong| panic!("{heading}: {wrong}"));
    assert_eq!(serde_json::to_string(&parsed).unwrap(), json, "{heading}");
}

#[test]
fn every_json_example_is_what_the_router_answers() {
    example::<TokenCreated>("token create");
    example::<Tokens>("token list");
    example::<Status>("status");
    example::<Peers>("peers");
    example::<Containers>("ps");
    example::<Leases>("leases");
    example::<Moves>("moves");
    example::<Lease>("reserve");
    example::<Moved>("move");
    example::<Revoked>("revoke");
    example::<Renewed>("renew");
}

#[test]
fn every_verb_and_every_flag_is_documented() {
    let mut root = Args::command();
    root.build();
    let mut verbs: Vec<_> = root.get_subcommands().map(|verb| (section_of(verb.get_name()), verb)).collect();
    let token = root.find_subcommand("token").unwrap();
    for (heading, verb) in [("token create", "create"), ("token list", "list"), ("token withdraw", "withdraw")] {
        verbs.push((heading, token.find_subcommand(verb).unwrap()));
    }
    let (table, _) = DOCUMENT.split_once("\n## ").unwrap();
    for (heading, verb) in verbs {
        let is_listed = [heading, verb.get_name()].iter().any(|name| table.contains(&format!("`{name}`")));
        assert!(is_listed, "{heading}: no row");
        let text = section(heading);
        for flag in verb.get_arguments().filter_map(|flag| flag.get_long()) {
            let known = ["help", "version", "data-dir", "control-socket", "output"].contains(&flag);
            assert!(known || text.contains(&format!("--{flag}")), "{heading}: --{flag}");
        }
    }
    for flag in ["--data-dir", "--control-socket", "--output", "RADDLE_DATA_DIR", "RADDLE_CONTROL_SOCKET"] {
        assert!(section("For every verb").contains(flag));
    }
}

fn section_of(verb: &str) -> &str {
    match verb {
        "connect" | "forget" => "connect and forget",
        "token" => "token create",
        _ => verb,
    }
}
