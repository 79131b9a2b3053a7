//! What is typed: what it means, and what is said when it means nothing.

use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::cli::*;

fn parsed(line: &str) -> Args {
    try_parse(line.split(' ')).unwrap_or_else(|wrong| panic!("{line}: {wrong}"))
}

fn refused(line: &str) -> clap::Error {
    match try_parse(line.split(' ')) {
        Ok(_) => panic!("{line} was taken"),
        Err(wrong) => wrong,
    }
}

fn verb(line: &str) -> ClientVerb {
    match parsed(line).command {
        Command::Client(verb) => verb,
        Command::Init(_) | Command::Join(_) | Command::Router(_) => panic!("{line} is not a client verb"),
    }
}

fn router(line: &str) -> RouterArgs {
    match parsed(line).command {
        Command::Router(args) => args,
        Command::Init(_) | Command::Join(_) | Command::Client(_) => panic!("{line} is not router"),
    }
}

fn init(line: &str) -> InitArgs {
    match parsed(line).command {
        Command::Init(args) => args,
        Command::Join(_) | Command::Router(_) | Command::Client(_) => panic!("{line} is not init"),
    }
}

#[test]
fn the_tree_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn globals_are_taken_before_and_after_the_verb() {
    for line in [
        "raddle --data-dir /d --control-socket /s --output json status",
        "raddle status --data-dir /d --control-socket /s --output json",
        "raddle --data-dir /d status --control-socket /s --output=json",
        "raddle token --data-dir /d create --control-socket /s --output json",
    ] {
        let globals = parsed(line).globals;
        assert_eq!(globals.data_dir, Path::new("/d"), "{line}");
        assert_eq!(globals.control_socket, Path::new("/s"), "{line}");
        assert_eq!(globals.output, Output::Json, "{line}");
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let globals = parsed("raddle status").globals;
    assert_eq!(globals.data_dir, Path::new("/var/lib/raddle"));
    assert_eq!(globals.control_socket, Path::new("/run/raddle/control.sock"));
    assert_eq!(globals.output, Output::Text);
    let router = router("raddle router");
    assert_eq!((router.bridge.as_str(), router.tap.as_str()), ("raddle0", "raddle-tap"));
    assert!(router.peers.is_empty() && router.listen.is_none() && router.advertise.is_empty());
    assert!(router.queues.is_none() && router.mtu.is_none() && router.password_file.is_none());
    assert_eq!(router.cipher, Cipher::Auto);
    let init = init("raddle init");
    assert_eq!(init.pool, pool::parse_pool("10.32.0.0/12").unwrap());
    assert!(init.pool6.is_none() && init.name.is_none() && init.password_file.is_none());
    assert_eq!(init.block_size, 64);
    let hour = TokenCreateArgs { ttl: Duration::from_secs(3600), uses: 1 };
    assert_eq!(verb("raddle token create"), ClientVerb::Token(TokenVerb::Create(hour)));
}

#[test]
fn init_takes_pools() {
    assert_eq!(init("raddle init --pool6").pool6, Some(PoolChoice6::Random));
    assert_eq!(init("raddle init --pool6=auto --pool 10.0.0.0/8").pool6, Some(PoolChoice6::Random));
    assert!(matches!(init("raddle init --pool6=fd00::/64").pool6, Some(PoolChoice6::Given(_))));
    let args = init("raddle init --name edge-1 --block-size 256 --password-file /p");
    assert_eq!(args.name.unwrap().as_str(), "edge-1");
    assert_eq!((args.block_size, args.password_file.unwrap().to_str().unwrap()), (256, "/p"));
}

#[test]
fn a_router_takes_peers_and_addresses() {
    let args = router(
        "raddle router host1 [::1]:7000 --listen 192.0.2.1 --advertise 198.51.100.7:1 --advertise ::2,::3 --queues 2",
    );
    assert_eq!(args.peers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["host1:6783", "[::1]:7000"]);
    assert_eq!(args.listen.unwrap().or_port(6783), "192.0.2.1:6783".parse().unwrap());
    assert_eq!(args.advertise.len(), 3);
    assert_eq!(args.queues, Some(2));
    assert_eq!(router("raddle router --cipher chacha20-poly1305").cipher, Cipher::ChaCha20Poly1305);
    assert_eq!(router("raddle router --cipher aes-256-gcm").cipher, Cipher::Aes256Gcm);
}

#[test]
fn client_verbs_have_their_operands() {
    assert_eq!(verb("raddle status"), ClientVerb::Status);
    assert_eq!(verb("raddle peers"), ClientVerb::Peers);
    assert_eq!(verb("raddle ps"), ClientVerb::Ps);
    assert_eq!(verb("raddle leases"), ClientVerb::Leases);
    assert_eq!(verb("raddle moves db"), ClientVerb::Moves(MovesArgs { workload: Some("db".into()) }));
    assert_eq!(verb("raddle version"), ClientVerb::Version);
    assert_eq!(verb("raddle renew"), ClientVerb::Renew);
    let addresses = vec!["host1".parse().unwrap(), "host2:1".parse().unwrap()];
    let args = AddressArgs { addresses };
    assert_eq!(verb("raddle connect host1 host2:1"), ClientVerb::Connect(args));
    for with_admitted in [false, true] {
        assert_eq!(verb("raddle token list"), ClientVerb::Token(TokenVerb::List));
        let args = TokenWithdrawArgs { id: "5f1d".into() };
        assert_eq!(verb("raddle token withdraw 5f1d"), ClientVerb::Token(TokenVerb::Withdraw(args)));
        let args = RevokeArgs { names: vec!["a".into(), "b".into()], with_admitted };
        let flag = if with_admitted { " --with-admitted" } else { "" };
        assert_eq!(verb(&format!("raddle revoke a b{flag}")), ClientVerb::Revoke(args));
    }
    let args = ReleaseArgs { workload: "default/web".into(), network: "raddle".into() };
    assert_eq!(verb("raddle release default/web"), ClientVerb::Release(args));
    let ten = TokenCreateArgs { ttl: Duration::from_secs(600), uses: 5 };
    assert_eq!(verb("raddle token create --ttl 10m --uses 5"), ClientVerb::Token(TokenVerb::Create(ten)));
}

#[test]
fn wrong_usage_is_status_2_and_names_the_operand() {
    for (line, named) in [
        ("raddle fly", "'fly'"),
        ("raddle status --frob", "'--frob'"),
        ("raddle status extra", "'extra'"),
        ("raddle --output yaml status", "'yaml'"),
        ("raddle token create --ttl soon", "\"soon\" is not a duration"),
        ("raddle token create --uses 0", "'0'"),
        ("raddle init --pool 10.0.0.1/8", "10.0.0.1/8 is not an IPv4 pool"),
        ("raddle init --block-size 100", "\"100\" is not a power of two"),
        ("raddle init --name -x", "-x"),
        ("raddle init --name a/b", "\"a/b\" is not a host name"),
        ("raddle router --bridge far-too-long-a-name", "\"far-too-long-a-name\" is not an interface name"),
        ("raddle router --queues 0", "'0'"),
        ("raddle router --mtu 100", "'100'"),
        ("raddle router --listen host1", "\"host1\": not an address"),
        ("raddle router host1:notaport", "\"host1:notaport\": the port"),
        ("raddle connect", "<ADDRESS>"),
        ("raddle revoke", "<NAME>"),
        ("raddle join", "<TOKEN"),
        ("raddle join token", "no address: say where"),
        ("raddle join token host1:x", "\"host1:x\": the port"),
        ("raddle join --password-file /p", "required"),
        ("raddle join --password-file /p --token-file /t host1", "--token-file"),
    ] {
        let wrong = refused(line);
        assert_eq!(wrong.exit_code(), 2, "{line}");
        assert!(wrong.to_string().contains(named), "{line}: {wrong}");
        assert!(wrong.use_stderr());
    }
}

#[test]
fn a_refused_join_shows_how_it_is_used_and_not_the_token() {
    let said = refused("raddle join s3cret").to_string();
    assert!(said.contains("raddle join [OPTIONS] <TOKEN|-> <ADDRESS>..."), "{said}");
    assert!(!said.contains("s3cret"));
}

#[test]
fn help_and_version_are_no_errors() {
    for line in
        ["raddle --help", "raddle -h", "raddle join --help", "raddle token create -h", "raddle --version", "raddle -V"]
    {
        assert_eq!(refused(line).exit_code(), 0, "{line}");
    }
    assert_eq!(refused("raddle").kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    assert_eq!(refused("raddle").exit_code(), 2);
}

#[test]
fn every_verb_has_an_example() {
    let mut root = Args::command();
    root.build();
    for verb in root.get_subcommands().filter(|verb| !["token", "version"].contains(&verb.get_name())) {
        let name = verb.get_name();
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:") && help.contains(&format!("raddle {name}")), "{name}");
    }
}

#[test]
fn every_example_parses() {
    let mut root = Args::command();
    root.build();
    let mut texts: Vec<String> =
        root.get_subcommands().filter_map(|verb| verb.get_after_help().map(ToString::to_string)).collect();
    texts.push(help::TOKEN_CREATE.to_owned());
    let lines = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("  "));
    let examples: Vec<&str> = lines.filter(|line| line.starts_with("raddle ") && !line.contains("[OPTIONS]")).collect();
    assert!(examples.len() > 20);
    for example in examples {
        let line = example.split(" | ").next().unwrap_or_default();
        parsed(line);
    }
}
