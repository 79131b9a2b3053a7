//! A host with a bridge and a stand-in for its router, containers, and calls of the binary.

mod router;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hostnet::bridge::{self, Bridge};
use hostnet::netns::Netns;
use serde_json::{Value, json};

pub(crate) use router::Router;

/// A network namespace that goes when the test ends, however it ends.
struct Space {
    name: String,
}

impl Space {
    fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cp{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().expect("iproute2 is installed");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "these tests need root and CAP_NET_ADMIN: {said}");
        Self { name }
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    fn ok(&self, command: &[&str]) -> String {
        let output = self.command(command[0]).args(&command[1..]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn interfaces(&self) -> Vec<String> {
        let links = Netns::open(self.path()).unwrap().run(hostnet::link::list).unwrap().unwrap();
        links.into_iter().map(|link| link.name).collect()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

pub(crate) struct Container {
    space: Space,
    id: String,
}

impl Container {
    pub(crate) fn new(id: &str) -> Self {
        Self { space: Space::new("c"), id: id.to_owned() }
    }

    pub(crate) fn path(&self) -> String {
        self.space.path()
    }

    pub(crate) fn ok(&self, command: &[&str]) -> String {
        self.space.ok(command)
    }

    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.space.interfaces()
    }
}

pub(crate) struct Host {
    space: Space,
    pub(crate) router: Router,
    folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let space = Space::new("h");
        let wanted = Bridge {
            name: "raddle0".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu_bytes: 1389,
            addresses: vec!["10.32.0.1/12".parse().unwrap(), "fd00:32::1/64".parse().unwrap()],
        };
        Netns::open(space.path()).unwrap().run(|| bridge::ensure(&wanted)).unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let router = Router::start(&folder.path().join("control.sock"));
        Self { space, router, folder }
    }

    pub(crate) fn path(&self) -> String {
        self.space.path()
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    pub(crate) fn ok(&self, command: &[&str]) -> String {
        self.space.ok(command)
    }

    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.space.interfaces()
    }

    /// How many containers are plugged in.
    pub(crate) fn ports(&self) -> usize {
        self.interfaces().iter().filter(|name| name.starts_with("rd")).count()
    }

    pub(crate) fn add(&self, container: &Container, changes: &[(&str, &str)], config: &Value) -> Answer {
        self.run("ADD", container, changes, config)
    }

    pub(crate) fn del(&self, container: &Container, config: &Value) -> Answer {
        self.run("DEL", container, &[], config)
    }

    pub(crate) fn run(&self, verb: &str, container: &Container, changes: &[(&str, &str)], config: &Value) -> Answer {
        let mut command = self.plugin(verb, container, changes);
        command.stdout(Stdio::piped());
        let output = feed(command, config);
        Answer {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn add_into_closed_stdout(&self, container: &Container, config: &Value) -> ExitStatus {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = self.plugin("ADD", container, &[]);
        command.stdout(full);
        feed(command, config).status
    }

    pub(crate) fn add_killed_after(&self, container: &Container, config: &Value, after: Duration) {
        let mut command = self.plugin("ADD", container, &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let written = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
        written.unwrap();
        // What it has asked for is given before anybody asks for anything else.
        self.router.finish();
    }

    fn plugin(&self, verb: &str, container: &Container, changes: &[(&str, &str)]) -> Command {
        let mut command = self.space.command(env!("CARGO_BIN_EXE_raddle-cni"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_NETNS", container.path())
            .env("CNI_IFNAME", "eth0")
            .envs(changes.iter().copied());
        command
    }
}

/// The configuration that most tests want.
pub(crate) fn conf(host: &Host) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "mesh",
        "type": "raddle-cni",
        "controlSocket": host.folder.path().join("control.sock"),
        "dataDir": host.folder.path(),
    })
}

fn feed(mut command: Command, config: &Value) -> Output {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What the binary did.
#[derive(Debug)]
pub(crate) struct Answer {
    status: ExitStatus,
    stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Success with a document.
    pub(crate) fn ok(&self) -> Value {
        assert!(self.status.success(), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Success without a word.
    pub(crate) fn done(&self) {
        assert!(self.status.success(), "{self:?}");
        assert_eq!(self.stdout, "");
    }

    /// A failure of that code.
    pub(crate) fn fault(&self, code: u32) -> Value {
        assert!(!self.status.success(), "{self:?}");
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(document["code"], code, "{self:?}");
        document
    }
}
