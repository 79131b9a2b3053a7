//! Hosts whose clock on the wall is wrong, by an hour or by ten years, and jumps while they talk: nothing comes of it.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{Container, Host, Process, Router, Stage, Underlay, pass, peer, rounds, size, until};

/// What clocks are wrong by. The first host's is wrong by the first of them when the cluster is founded.
const WRONG: [&str; 5] = ["-10y", "+10y", "-1h", "+1h", "+0"];
const WAIT: Duration = Duration::from_secs(30);

/// A host whose router takes the time of day from a file, which can be set while it runs. Time that only passes is untouched.
struct Clocked<'a> {
    host: &'a Host,
    file: String,
}

impl<'a> Clocked<'a> {
    fn of(host: &'a Host, wrong_by: &str) -> Result<Self> {
        let clocked = Self { host, file: host.home().join("clock").display().to_string() };
        clocked.set(wrong_by)?;
        Ok(clocked)
    }

    fn set(&self, wrong_by: &str) -> Result<()> {
        let new = format!("{}.new", self.file);
        fs::write(&new, wrong_by)?;
        Ok(fs::rename(new, &self.file)?)
    }

    fn environment(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", &self.file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    fn start(&self) -> Result<Router> {
        Router::start_under(self.host, &self.environment(), &[])
    }

    /// Becomes a member, by a token of another router's.
    fn join(&self, token: &str, first: &Host) -> Result<Router> {
        self.host.run_env(&self.environment(), &["raddle", "join", token, &peer(first)], b"")?.ok()?;
        self.start()
    }

    /// A new handshake key, with a certificate that is signed now; the log's line about it shows that the router lives at the
    /// time that the file says.
    fn renew(&self, router: &Router) -> Result<()> {
        router.raddle(&["renew"])?.ok()?;
        until(&format!("the clock of {} is wrong", self.host.name()), WAIT, || {
            let day = self.host.run_env(&self.environment(), &["date", "--utc", "+%F"], b"")?.ok()?;
            let log = router.log()?;
            let line = log.lines().rfind(|line| line.contains("new handshake key")).context("nothing about a key")?;
            ensure!(line.starts_with(&day), "on {day} it says {line:?}");
            Ok(Some(()))
        })
    }
}

/// Routers under clocks of their own, a container with each, and pings from the first to all others that go on.
struct Scene<'a> {
    clocks: Vec<Clocked<'a>>,
    routers: Vec<Router>,
    containers: Vec<Container>,
    pings: Vec<Process>,
    begun: Instant,
}

impl<'a> Scene<'a> {
    fn build(stage: &'a Stage) -> Result<Self> {
        let clocks =
            stage.hosts().iter().zip(WRONG).map(|(host, by)| Clocked::of(host, by)).collect::<Result<Vec<_>>>()?;
        let (first, others) = clocks.split_first().context("no host")?;
        first.host.run_env(&first.environment(), &["raddle", "init"], b"")?.ok()?;
        let mut routers = vec![first.start()?];
        let token = first.host.raddle(&["token", "create", "--uses", &others.len().to_string()])?.ok()?;
        // The token is good for an hour, whatever the clock on the wall says meanwhile.
        first.set("+10y")?;
        for other in others {
            routers.push(other.join(&token, first.host)?);
        }
        let containers = stage
            .hosts()
            .iter()
            .map(|host| Container::start(host, &format!("on-{}", host.name()), None))
            .collect::<Result<Vec<_>>>()?;
        let mut scene = Self { clocks, routers, containers, pings: Vec::new(), begun: Instant::now() };
        scene.until_whole()?;
        let (first, others) = scene.containers.split_first().context("no container")?;
        for other in others {
            first.until_reaches(other.address()?)?;
            let to = other.address()?.to_string();
            scene.pings.push(first.spawn(&format!("ping-{}", other.id()), &["ping", "-i", "0.1", "-W", "1", &to])?);
        }
        scene.begun = Instant::now();
        Ok(scene)
    }

    fn until_whole(&self) -> Result<()> {
        let others = u64::try_from(self.routers.len())? - 1;
        self.routers.iter().try_for_each(|router| router.until_connected(others))
    }

    /// All clocks jump, each to where the next one's was, while pings are answered.
    fn jump(&self, turn: usize) -> Result<()> {
        for (number, clock) in self.clocks.iter().enumerate() {
            clock.set(WRONG.iter().cycle().nth(number + turn).copied().unwrap_or_default())?;
        }
        let before = self.answers()?;
        until("all pings are answered", WAIT, || {
            let after = self.answers()?;
            Ok(before.iter().zip(&after).all(|(before, after)| *after > *before + 5).then_some(()))
        })
    }

    fn answers(&self) -> Result<Vec<usize>> {
        self.pings.iter().map(|ping| Ok(ping.output()?.matches("bytes from").count())).collect()
    }

    /// Nobody has lost anybody, or refused anybody, since all were connected.
    fn ensure_nothing_happened(&self) -> Result<()> {
        for router in &self.routers {
            let passed_s = self.begun.elapsed().as_secs();
            for other in router.peers()? {
                let since_s = other["since_s"].as_u64().unwrap_or_default();
                ensure!(since_s >= passed_s, "{} since {since_s} s only", other["name"]);
            }
            let log = router.log()?;
            let bad = log.lines().find(|line| line.contains("no longer connected") || line.contains("refused"));
            ensure!(bad.is_none(), "{}: {bad:?}", router.host().name());
        }
        Ok(())
    }
}

#[test]
fn clocks_that_are_wrong_and_jump_end_no_session_and_refuse_no_handshake() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 5, mtu_bytes: 1500 })?;
    let mut scene = Scene::build(&stage)?;
    // Frames go all the time: at full length keys are worn out and agreed upon again twice, under other clocks each time.
    let (turns, each) = (rounds(5, 30), Duration::from_millis(u64::try_from(size(500, 9_000))?));
    for turn in 1..=turns {
        scene.jump(turn)?;
        pass(each);
    }
    scene.ensure_nothing_happened()?;
    let (time, answered) = (scene.begun.elapsed(), scene.answers()?);
    // Certificates are signed anew under one clock and looked at under others, sessions made anew, stores opened again.
    for (clock, router) in scene.clocks.iter().zip(&scene.routers) {
        clock.renew(router)?;
    }
    for turn in 1..=2 {
        scene.jump(turns + turn)?;
        for router in &mut scene.routers {
            router.kill()?;
            router.start_again()?;
        }
        scene.until_whole()?;
    }
    let (first, others) = scene.containers.split_first().context("no container")?;
    others.iter().try_for_each(|other| first.until_reaches(other.address()?))?;
    println!("{turns} jumps of five clocks in {time:.0?}: {answered:?} pings answered, no session lost");
    Ok(())
}

/// Where Debian's package `libfaketime` has it, for whatever machine: the loader replaces `$LIB`.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";
