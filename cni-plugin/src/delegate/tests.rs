use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A plugin that notes its verbs and what it reads, and answers with this script.
fn plugin(script: &str) -> (tempfile::TempDir, Delegate) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("other");
    let text = format!("#!/bin/sh\necho $CNI_COMMAND >> $(dirname $0)/verbs\ncat > $(dirname $0)/stdin\n{script}\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().as_os_str().to_owned();
    let lookup = move |name: &str| (name == "CNI_PATH").then(|| path.clone());
    let delegate = Delegate::find("other", b"{\"whole\":1}", &lookup).unwrap();
    (folder, delegate)
}

fn verbs(folder: &tempfile::TempDir) -> String {
    fs::read_to_string(folder.path().join("verbs")).unwrap()
}

#[test]
fn what_it_decides_is_taken_over() {
    let result =
        r#"{"ips":[{"address":"10.32.0.7/24"},{"address":"fd00::7/64"}],"routes":[{"dst":"192.0.2.0/24"}],"dns":{}}"#;
    let (folder, delegate) = plugin(&format!("echo '{result}'"));
    let decided = delegate.add().unwrap();
    assert_eq!(decided.addresses, ["10.32.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
    assert_eq!((decided.routes.len(), decided.dns), (1, None));
    assert_eq!(fs::read_to_string(folder.path().join("stdin")).unwrap(), "{\"whole\":1}");
    assert_eq!(verbs(&folder), "ADD\n");
}

#[test]
fn what_is_of_no_use_is_given_back() {
    for script in ["echo '{\"ips\":[]}'", "echo '{\"ips\":[{\"address\":\"banana\"}]}'", "exit 0"] {
        let (folder, delegate) = plugin(script);
        assert!(delegate.add().unwrap_err().message.contains("other"), "{script}");
        assert_eq!(verbs(&folder), "ADD\nDEL\n", "{script}");
    }
}

#[test]
fn its_error_keeps_its_code() {
    let (folder, delegate) = plugin(r#"echo '{"code":117,"msg":"no more","details":"all taken"}'; exit 1"#);
    let fault = delegate.add().unwrap_err();
    assert_eq!((fault.number(), fault.details.as_deref()), (117, Some("all taken")));
    assert!(fault.message.contains("no more"), "{fault:?}");
    assert_eq!(verbs(&folder), "ADD\nDEL\n");
    let (_folder, silent) = plugin("exit 3");
    assert!(silent.call("CHECK").unwrap_err().message.contains('3'));
}

#[test]
fn one_that_is_not_there_is_named() {
    let fault = Delegate::find("absent", b"", &|_| Some("/nowhere:/neither".into())).unwrap_err();
    assert!(fault.message.contains("absent") && fault.details.unwrap().contains("/neither"));
}

#[test]
fn one_that_hangs_is_stopped_with_all_that_it_has_started() {
    // A child of its that keeps its pipe open, and one that never reads what it is given.
    for script in ["sleep 1000 & sleep 1000", "sleep 1000 & exit 0", "exec sleep 1000", "exec yes"] {
        let (folder, delegate) = plugin(script);
        let fault = delegate.run("ADD", Duration::from_millis(500)).unwrap_err();
        let spewed = script.contains("yes");
        assert_eq!(fault.code, if spewed { Code::Config } else { Code::TryAgain }, "{script}: {fault:?}");
        assert!(fault.message.contains("other"), "{script}: {fault:?}");
        assert_eq!(verbs(&folder), "ADD\n", "{script}");
    }
    let (_folder, deaf) = plugin("exec sleep 1000 <&-");
    let long = Delegate { stdin: vec![b' '; 1 << 20], ..deaf };
    assert_eq!(long.run("STATUS", Duration::from_millis(300)).unwrap_err().code, Code::NotAvailable);
}
