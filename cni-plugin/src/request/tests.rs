use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

const ENVIRONMENT: [(&str, &str); 4] =
    [("CNI_CONTAINERID", "c1"), ("CNI_NETNS", "/run/netns/c1"), ("CNI_IFNAME", "eth0"), ("CNI_PATH", "/opt/cni/bin")];

const CONFIG: &str = r#"{"cniVersion":"1.1.0","name":"mesh","type":"raddle-cni"}"#;

/// A call with the usual environment, some variables of which are changed; an empty one counts as none.
fn call(command: &str, changes: &[(&str, &str)], stdin: &str) -> Result<Call, Refused> {
    let mut variables: BTreeMap<&str, &str> = ENVIRONMENT.into_iter().collect();
    variables.insert("CNI_COMMAND", command);
    variables.extend(changes.iter().copied());
    Call::parse(&|name| variables.get(name).map(OsString::from), stdin.as_bytes())
}

fn fault(command: &str, changes: &[(&str, &str)], stdin: &str) -> Fault {
    match call(command, changes, stdin) {
        Err(refused) => refused.fault,
        Ok(call) => panic!("{command} {changes:?} {stdin}: {call:?}"),
    }
}

fn add(stdin: &str) -> Add {
    match call("ADD", &[], stdin) {
        Ok(Call { request: Request::Add(add), .. }) => *add,
        other => panic!("{stdin}: {other:?}"),
    }
}

fn config(version: &str) -> String {
    CONFIG.replace("1.1.0", version)
}

#[test]
fn without_a_command_there_is_a_banner_and_an_unknown_one_is_named() {
    assert_eq!(call("", &[], "").unwrap().request, Request::Banner);
    let refused = fault("FROB", &[], CONFIG);
    assert_eq!(refused.code, Code::Environment);
    assert!(refused.message.contains("FROB"), "{refused:?}");
    assert_eq!(fault("add", &[], CONFIG).code, Code::Environment);
}

#[test]
fn version_needs_nothing_and_answers_in_the_callers_version() {
    let dummy = [("CNI_CONTAINERID", ""), ("CNI_NETNS", "dummy"), ("CNI_IFNAME", "this name is far too long")];
    for (stdin, expected) in [
        ("", "1.1.0"),
        ("{", "1.1.0"),
        ("[]", "1.1.0"),
        (r#"{"cniVersion":7}"#, "1.1.0"),
        (r#"{"cniVersion":""}"#, "1.1.0"),
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion":"0.2.0","name":"../x"}"#, "0.2.0"),
    ] {
        let asked = call("VERSION", &dummy, stdin).unwrap();
        assert_eq!(asked.request, Request::Version(expected.to_owned()), "{stdin}");
    }
}

#[test]
fn all_missing_variables_are_listed_at_once_and_the_path_is_not_among_them() {
    let none = ENVIRONMENT.map(|(name, _)| (name, ""));
    for (command, expected) in [
        ("ADD", "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"),
        ("CHECK", "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"),
        ("DEL", "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing"),
    ] {
        let refused = fault(command, &none, CONFIG);
        assert_eq!((refused.code, refused.message.as_str()), (Code::Environment, expected));
    }
    assert!(call("GC", &none, CONFIG).is_ok());
    assert!(call("STATUS", &none, CONFIG).is_ok());
    assert!(call("DEL", &[("CNI_NETNS", "")], CONFIG).is_ok());
}

#[test]
fn a_bad_variable_is_an_error_that_names_it() {
    let long = "i".repeat(16);
    let cases = [
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_CONTAINERID", "-a"),
        ("CNI_CONTAINERID", ".."),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_IFNAME", long.as_str()),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "x:y"),
        ("CNI_IFNAME", "x/y"),
        ("CNI_IFNAME", "x\u{7}"),
    ];
    for command in ["ADD", "DEL", "CHECK"] {
        for (name, value) in cases {
            let refused = fault(command, &[(name, value)], "{nope");
            assert_eq!(refused.code, Code::Environment, "{command} {name}={value:?}");
            assert!(refused.message.contains(name), "{refused:?}");
        }
    }
    assert!(call("ADD", &[("CNI_IFNAME", &"i".repeat(15))], CONFIG).is_ok());
    assert!(call("ADD", &[("CNI_CONTAINERID", &"c".repeat(300))], CONFIG).is_ok());
}

#[test]
fn a_variable_that_is_not_utf8_is_refused_where_it_is_needed() {
    let lookup = |name: &str| match name {
        "CNI_COMMAND" => Some("ADD".into()),
        "CNI_CONTAINERID" => Some("c1".into()),
        "CNI_IFNAME" => Some("eth0".into()),
        "CNI_NETNS" => Some(OsString::from_vec(vec![0xff])),
        _ => None,
    };
    assert_eq!(Call::parse(&lookup, CONFIG.as_bytes()).unwrap_err().fault.code, Code::Environment);
    let del = |name: &str| if name == "CNI_COMMAND" { Some("DEL".into()) } else { lookup(name) };
    assert!(Call::parse(&del, CONFIG.as_bytes()).is_ok());
}

#[test]
fn what_stdin_says_is_checked_in_the_order_others_check_it() {
    let cases = [
        ("", Code::Decode),
        ("{nope", Code::Decode),
        ("[]", Code::Decode),
        ("7", Code::Decode),
        (r#"{"name":7,"cniVersion":"1.1.0"}"#, Code::Decode),
        (r#"{"cniVersion":"9","type":"x"}"#, Code::Config),
        (r#"{"cniVersion":"9","name":""}"#, Code::Config),
        (r#"{"cniVersion":"9","name":"../x"}"#, Code::Config),
        (r#"{"cniVersion":"9","name":"mesh"}"#, Code::Version),
        (r#"{"cniVersion":"1.0","name":"mesh"}"#, Code::Version),
        (r#"{"cniVersion":1,"name":"mesh"}"#, Code::Decode),
        (r#"{"name":"mesh"}"#, Code::Version),
        (r#"{"cniVersion":null,"name":"mesh"}"#, Code::Version),
    ];
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for (stdin, expected) in cases {
            assert_eq!(fault(command, &[], stdin).code, expected, "{command} {stdin}");
        }
    }
}

#[test]
fn a_verb_that_the_version_does_not_have_is_refused_with_both_sides_named() {
    for (command, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0"), ("GC", "0.4.0")] {
        let refused = call(command, &[], &config(version)).unwrap_err();
        assert_eq!(refused.version.as_str(), version);
        assert_eq!(refused.fault.code, Code::Version);
        let details = refused.fault.details.unwrap();
        assert!(details.contains(version) && details.contains("1.1.0"), "{details}");
    }
    for version in Version::ALL.map(Version::as_str) {
        assert!(call("ADD", &[], &config(version)).is_ok());
        assert!(call("DEL", &[], &config(version)).is_ok());
    }
}

#[test]
fn a_configuration_of_two_megabytes_is_read() {
    let padding = "x".repeat(2 << 20);
    assert_eq!(add(&CONFIG.replace("}", &format!(r#","padding":"{padding}"}}"#))).unknown_keys, ["padding"]);
}

#[test]
fn del_does_not_stumble_over_what_it_does_not_need() {
    let stdin = r#"{"cniVersion":"1.1.0","name":"mesh","mtu":"big","hold":-1,"ipam":{"type":"other"},"routes":7,
                   "prevResult":"garbage","args":[],"runtimeConfig":5}"#;
    let changes = [("CNI_ARGS", "=;=FOO"), ("CNI_NETNS", "")];
    assert!(matches!(call("DEL", &changes, stdin).unwrap().request, Request::Del(_)));
}

#[test]
fn check_needs_a_previous_result() {
    assert_eq!(fault("CHECK", &[], CONFIG).code, Code::Config);
    for (previous, code) in [("null", Code::Config), ("7", Code::Decode)] {
        let stdin = CONFIG.replace('}', &format!(r#","prevResult":{previous}}}"#));
        assert_eq!(fault("CHECK", &[], &stdin).code, code);
    }
}

#[test]
fn gc_takes_either_name_of_the_list_and_tells_missing_from_empty() {
    let valid = |keys: &str| {
        let call = call("GC", &[], &CONFIG.replace('}', &format!(",{keys}}}"))).unwrap();
        let Request::Gc(gc) = call.request else { panic!("{call:?}") };
        gc.valid
    };
    let one = r#"[{"containerID":"a","ifname":"eth0"}]"#;
    let two = r#"[{"containerID":"b","ifname":"eth1"}]"#;
    let pair = |id: &str, ifname: &str| Some(vec![(id.to_owned(), ifname.to_owned())]);
    assert_eq!(valid(r#""x":1"#), None);
    assert_eq!(valid(r#""cni.dev/attachments":null"#), None);
    assert_eq!(valid(r#""cni.dev/attachments":[]"#), Some(Vec::new()));
    assert_eq!(valid(&format!(r#""cni.dev/attachments":{one}"#)), pair("a", "eth0"));
    let both = format!(r#""cni.dev/attachments":{one},"cni.dev/valid-attachments":{two}"#);
    assert_eq!(valid(&both), pair("b", "eth1"));
    for bad in ["7", "{}", r#"["c1"]"#, r#"[{"containerID":"a"}]"#, r#"[{"containerID":1,"ifname":"x"}]"#] {
        let stdin = CONFIG.replace('}', &format!(r#","cni.dev/valid-attachments":{bad}}}"#));
        assert_eq!(fault("GC", &[], &stdin).code, Code::Decode, "{bad}");
    }
}

#[test]
fn the_hosts_interface_is_a_function_of_network_container_and_ifname() {
    let name = |network: &str, id: &str, ifname: &str| {
        let call = call("DEL", &[("CNI_CONTAINERID", id), ("CNI_IFNAME", ifname)], &CONFIG.replace("mesh", network));
        let Request::Del(target) = call.unwrap().request else { panic!("no DEL") };
        target.host_interface()
    };
    let long = "c".repeat(60);
    let names = [
        name("mesh", &format!("{long}1"), "eth0"),
        name("mesh", &format!("{long}2"), "eth0"),
        name("mesh", &format!("{long}1"), "eth1"),
        name(&"m".repeat(200), &format!("{long}1"), "eth0"),
        name("mes", "hc", "eth0"),
        name("mesh", "c", "eth0"),
    ];
    for (position, one) in names.iter().enumerate() {
        assert!(one.len() == 14 && one.starts_with("rd"), "{one}");
        assert!(names.iter().skip(position + 1).all(|other| other != one), "{names:?}");
    }
    // Of sha256("mesh\0c\0eth0\0"): a DEL of a later release must find what an earlier one has attached.
    assert_eq!(names[5], "rde12c5560100b");
}

#[test]
fn whatever_comes_in_is_answered() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"name\"",
        ":",
        "\"mesh\"",
        ",",
        "\"cniVersion\"",
        "\"1.1.0\"",
        "null",
        "1e99",
        "\\",
        "\u{fffd}",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let commands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];
    for _ in 0..20_000 {
        let text: String = (0..random(14)).map(|_| pieces[random(pieces.len())]).collect();
        let _ = call(commands[random(commands.len())], &[("CNI_ARGS", &text)], &text);
        let nested = CONFIG.replace('}', &format!(",\"args\":{{\"cni\":{text}}},\"runtimeConfig\":{text}}}"));
        let _ = call(commands[random(commands.len())], &[("CNI_ARGS", &text)], &nested);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(fault("ADD", &[], &deep).code, Code::Decode);
}
