//! Nobody hears the old place once the address is elsewhere, however loud it is.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tests::{Attachment, Cluster, Container, Host, Plugin, Process, Stage, Underlay, clock, rounds, until};

/// Within seconds, all of it; the rest is for a machine that compiles beside it.
const WAIT: Duration = Duration::from_secs(40);
/// What the new container says meanwhile, a word every millisecond.
const WORDS: usize = 300;

/// Says a word to an address every millisecond, whatever the kernel answers.
const SHOUT: &str = "
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        s.sendto(sys.argv[2].encode(), (sys.argv[1], 9))
    except OSError:
        pass
    time.sleep(0.001)
";
/// Prints which words came, and when by the kernel (`SO_TIMESTAMPNS`): this program may read them later.
const LISTEN: &str = "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 35, 1)
s.bind(('0.0.0.0', 9))
print('ready', flush=True)
while True:
    word, [(_, _, stamp)], _, _ = s.recvmsg(64, 64)
    print(word.decode(), '%d.%09d' % struct.unpack('qq', stamp), flush=True)
";

struct Ear(Process);

impl Ear {
    fn open(container: &Container) -> Result<Self> {
        let mut listener = container.spawn("listen", &["python3", "-u", "-c", LISTEN])?;
        listener.until_says("ready", WAIT)?;
        Ok(Self(listener))
    }

    /// When this word came, each time.
    fn heard(&self, word: &str) -> Result<Vec<Duration>> {
        let text = self.0.output()?;
        let stamps = text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.parse().ok());
        Ok(stamps.map(Duration::from_secs_f64).collect())
    }

    fn until_heard(&self, word: &str, times: usize, after: Duration) -> Result<()> {
        until(&format!("{word:?} is heard"), WAIT, || {
            let new = self.heard(word)?.iter().filter(|stamp| **stamp > after).count();
            if new >= times { Ok(Some(())) } else { bail!("{new} times") }
        })
    }

    fn ensure_silent(&self, word: &str, after: Duration) -> Result<()> {
        let late = self.heard(word)?.iter().filter(|stamp| **stamp > after).count();
        ensure!(late == 0, "{late} frames of the old place came after the move");
        Ok(())
    }
}

fn shout(from: &Container, to: &Container, word: &str) -> Result<Process> {
    from.spawn(word, &["python3", "-c", SHOUT, &to.address()?.to_string(), word])
}

/// Opens the fenced port again behind the router's back, as a mistaken operator would.
fn open_ports(host: &Host) -> Result<()> {
    for link in host.container_links()? {
        host.run(&["ip", "link", "set", &link, "up"])?.ok()?;
    }
    Ok(())
}

#[test]
fn a_container_that_was_taken_over_is_not_heard_any_more() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let ear = Ear::open(&observer)?;
    for round in 0..rounds(3, 100) {
        let (workload, old_word, new_word) = (format!("web-{round}"), format!("old-{round}"), format!("new-{round}"));
        let old = Container::start(stage.host(1)?, &old_word, Some(&workload))?;
        let mut shouting = shout(&old, &observer, &old_word)?;
        ear.until_heard(&old_word, WORDS, Duration::ZERO)?;
        let new = old.taken_over_on(stage.host(2)?, &new_word)?;
        let given = clock()?;
        open_ports(stage.host(1)?)?;
        let _talking = shout(&new, &observer, &new_word)?;
        ear.until_heard(&new_word, WORDS, given)?;
        ear.ensure_silent(&old_word, given)?;
        shouting.kill()?;
        old.stop()?;
        new.stop()?;
    }
    Ok(())
}

#[test]
fn a_host_that_was_cut_off_and_revoked_is_not_heard_when_it_is_back() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let ear = Ear::open(&observer)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let _shouting = shout(&old, &observer, "old")?;
    ear.until_heard("old", WORDS, Duration::ZERO)?;
    let (first, others) = stage.hosts().split_at(1);
    stage.part(first, others)?;
    // Whether it is asked for at once or after the silence has been noticed.
    let arguments = "IgnoreUnknown=1;RADDLE_WORKLOAD=web;RADDLE_TAKE_OVER=1";
    stage.host(2)?.run(&["ip", "netns", "add", "early"])?.ok()?;
    let about = Attachment { container: "early", netns: "/run/netns/early", arguments };
    let (code, message) = stage.host(2)?.cni(Plugin::Raddle, "ADD", about, &json!({}))?.failed()?;
    ensure!(code == 11 && message.contains("raddle revoke host1"), "code {code}: {message}");

    let begun = Instant::now();
    cluster.router(2)?.raddle(&["revoke", "host1"])?.ok()?;
    let new = Container::start(stage.host(2)?, "new", Some("web"))?;
    let accepted = begun.elapsed();
    ensure!(new.address()? == old.address()?, "it has {}", new.address()?);
    let (given, _talking) = (clock()?, shout(&new, &observer, "new")?);
    ear.until_heard("new", WORDS, given)?;

    stage.mend()?;
    let told = Instant::now();
    let status = || -> Result<_> { cluster.router(1)?.status() };
    until("the revoked router lets go", WAIT, || {
        Ok(status()?["warnings"].to_string().contains("revoked").then_some(()))
    })?;
    stage.host(1)?.until_fenced(WAIT)?;
    println!("accepted {accepted:.1?} after the revocation; fenced {:.1?} after the heal", told.elapsed());
    open_ports(stage.host(1)?)?;
    ear.until_heard("new", WORDS, clock()?)?;
    ear.ensure_silent("old", given)
}
