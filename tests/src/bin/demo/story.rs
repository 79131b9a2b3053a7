//! What happens in the demo, step by step, on real hosts with real engines.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Beats, Capture, Host, Image, Plugin, Podman, Router, Stage, Underlay, binary, now_ms, peer, until};

use crate::{
    Form,
    figures::{Figures, Live},
    say,
};

/// The hosts and what runs on them. Dropping it takes everything down.
pub(crate) struct Story<'a> {
    form: &'a Form,
    routers: Vec<Router>,
    podmans: Vec<Podman>,
    // Last: what runs on the hosts is let go before the hosts are.
    stage: Stage,
}

impl<'a> Story<'a> {
    /// Three hosts on one underlay, nothing on them yet.
    pub(crate) fn begin(form: &'a Form) -> Result<Self> {
        say(form, "Three hosts on one underlay (network namespaces, MTU 1500), a router on each:\n")?;
        let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
        Ok(Self { form, routers: Vec::new(), podmans: Vec::new(), stage })
    }

    /// All of it, in order.
    pub(crate) fn run(&mut self) -> Result<Figures> {
        let capture = Capture::start(&self.stage, "capture")?;
        self.form_cluster()?;
        self.start_podman()?;
        self.start_web(1)?;
        let (address_before, mac_before) = self.podman(1)?.address("web")?;
        self.say(&format!("        web is {address_before}, {mac_before}"))?;
        self.start_client(2, &address_before)?;
        self.start_client(3, &address_before)?;
        self.until_fetched(0, "the clients fetch the page")?;

        self.say("\nNow web moves cold to host 2, its data with it, while the clients go on:\n")?;
        let moved_ms = now_ms()?;
        let start = Instant::now();
        self.move_web()?;
        let engine_ms = u64::try_from(start.elapsed().as_millis())?;
        let (address_after, mac_after) = self.podman(2)?.address("web")?;
        self.until_fetched(moved_ms, "the clients fetch the page again")?;
        let clients = [self.fetches(2)?, self.fetches(3)?];
        for number in [2, 3] {
            self.podman(number)?.remove(&format!("client{number}"))?;
        }
        let live = self.move_live()?;
        let recording = capture.finish()?;
        let throughput_gbps = self.throughput()?;
        Ok(Figures {
            address_before,
            address_after,
            mac_before,
            mac_after,
            fetches: clients.iter().map(|client| client.good() + client.failed()).sum(),
            failed_fetches: clients.iter().map(Beats::failed).sum(),
            gap_ms: clients.iter().map(Beats::gap_ms).max().unwrap_or_default(),
            engine_ms,
            live,
            sealed_bytes: recording.sealed_bytes(),
            plaintext_found: recording.occurrences(PAGE.as_bytes()) + recording.clear()?.len(),
            throughput_gbps,
        })
    }

    /// The commands of the README.
    fn form_cluster(&mut self) -> Result<()> {
        let first = self.stage.host(1)?.clone();
        self.raddle(&first, &["init"])?;
        self.say(&format!("{}$ raddle router &", first.name()))?;
        self.routers.push(Router::start(&first, &[])?);
        for host in self.stage.hosts().iter().skip(1) {
            self.say(&format!("{}$ raddle token create", first.name()))?;
            let token = first.raddle(&["token", "create"])?.ok()?;
            self.say(&format!("{}$ raddle join TOKEN {}", host.name(), peer(&first)))?;
            host.raddle(&["join", &token, &peer(&first)])?.ok()?;
            self.say(&format!("{}$ raddle router &", host.name()))?;
            self.routers.push(Router::start(host, &[])?);
        }
        self.routers.iter().try_for_each(|router| router.until_connected(2))
    }

    fn raddle(&self, host: &Host, words: &[&str]) -> Result<String> {
        self.say(&format!("{}$ raddle {}", host.name(), words.join(" ")))?;
        host.raddle(words)?.ok()
    }

    fn start_podman(&mut self) -> Result<()> {
        self.say("\nPodman on each host, its network \"raddle\" of type raddle-cni:\n")?;
        let binaries = [binary("probe")?, PathBuf::from("/usr/bin/iperf3")];
        let image = Image::pack(self.stage.directory(), &binaries)?;
        for host in self.stage.hosts() {
            self.podmans.push(Podman::on(host, &image, Plugin::Raddle)?);
        }
        let page = format!("<p>{PAGE}</p>\n").repeat(PAGE_LINES);
        let first = self.stage.host(1)?;
        first.run(&["mkdir", "-p", "/srv/web"])?.ok()?;
        first.run_with(&["tee", "/srv/web/index.html"], page.as_bytes())?.ok()?;
        Ok(())
    }

    fn start_web(&self, number: usize) -> Result<()> {
        self.say(&format!(
            "host{number}$ podman run -d --name web --network raddle -v /srv/web:/srv stage httpd -f -p 80 -h /srv"
        ))?;
        let command = ["httpd", "-f", "-p", "80", "-h", "/srv"];
        self.podman(number)?.start("web", &["-v", "/srv/web:/srv:ro"], &command)?.ok()?;
        Ok(())
    }

    fn start_client(&self, number: usize, address: &str) -> Result<()> {
        let name = format!("client{number}");
        let to = format!("{address}:80");
        self.say(&format!(
            "host{number}$ podman run -d --name {name} --network raddle stage probe fetch {to} /index.html 100"
        ))?;
        self.podman(number)?.start(&name, &[], &["probe", "fetch", &to, "/index.html", "100"])?.ok()?;
        Ok(())
    }

    /// Removes web on host 1, takes its data to host 2, starts it there under the same name.
    fn move_web(&self) -> Result<()> {
        let data = self.stage.directory().join("web.tar").display().to_string();
        self.say("host1$ podman rm -f web")?;
        self.podman(1)?.remove("web")?;
        self.stage.host(1)?.run(&["tar", "-C", "/srv", "-cf", &data, "web"])?.ok()?;
        self.stage.host(2)?.run(&["tar", "-C", "/srv", "-xf", &data])?.ok()?;
        self.start_web(2)
    }

    /// Takes a running process from host 1 to host 2 while a client on host 3 counts with it over one connection; or says
    /// why that cannot be done on this machine.
    fn move_live(&self) -> Result<Result<Live, String>> {
        let (one, two, three) = (self.podman(1)?, self.podman(2)?, self.podman(3)?);
        if let Some(reason) = one.why_not_live()? {
            self.say(&format!("\nNo live move on this machine: {reason}"))?;
            return Ok(Err(reason));
        }
        self.say("\nNow a process moves live: its memory and its open TCP connection go with it.\n")?;
        self.say("host1$ podman run -d --name counter --network raddle stage probe count 0.0.0.0:7 10")?;
        one.start("counter", &[], &["probe", "count", "0.0.0.0:7", "10"])?.ok()?;
        let (address, mac) = one.address("counter")?;
        self.say(&format!("host3$ podman run -d --name follower --network raddle stage probe follow {address}:7"))?;
        three.start("follower", &[], &["probe", "follow", &format!("{address}:7")])?.ok()?;
        self.until_followed(0, "the follower follows the counter")?;

        let archive = self.stage.directory().join("counter.tar");
        let start = Instant::now();
        self.say("host1$ podman container checkpoint --tcp-established --export counter.tar counter")?;
        one.checkpoint("counter", &archive)?;
        self.say("host2$ podman container restore --tcp-established --import counter.tar")?;
        two.restore(&archive)?.ok()?;
        let engine_ms = u64::try_from(start.elapsed().as_millis())?;
        self.until_followed(now_ms()?, "the counter goes on")?;
        ensure!(two.address("counter")? == (address, mac), "the counter has another address");
        let followed = self.beats(3, "follower")?;
        three.remove("follower")?;
        two.remove("counter")?;
        Ok(Ok(Live { gap_ms: followed.gap_ms(), engine_ms, numbers: followed.good() }))
    }

    fn until_followed(&self, since_ms: u64, what: &str) -> Result<()> {
        until(what, FETCHED, || Ok((self.beats(3, "follower")?.good_after(since_ms) >= ENOUGH).then_some(())))
    }

    fn until_fetched(&self, since_ms: u64, what: &str) -> Result<()> {
        for number in [2, 3] {
            until(what, FETCHED, || Ok((self.fetches(number)?.good_after(since_ms) >= ENOUGH).then_some(())))?;
        }
        Ok(())
    }

    fn fetches(&self, number: usize) -> Result<Beats> {
        self.beats(number, &format!("client{number}"))
    }

    fn beats(&self, number: usize, name: &str) -> Result<Beats> {
        Beats::parse(&format!("{}\n", self.podman(number)?.logs(name)?))
    }

    /// One TCP stream from a container on host 3 to one on host 1.
    fn throughput(&self) -> Result<f64> {
        let server = self.podman(1)?;
        server.start("meter", &[], &["iperf3", "-s"])?.ok()?;
        let (address, _) = server.address("meter")?;
        let client = self.podman(3)?;
        client.start("driver", &[], &["sleep", "600"])?.ok()?;
        let measure =
            || client.run(&["exec", "driver", "iperf3", "--json", "--time", "5", "--omit", "1", "--client", &address]);
        let report = until("iperf3 reaches its server", FETCHED, || Ok(Some(measure()?.json()?)))?;
        server.remove("meter")?;
        client.remove("driver")?;
        let bits = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        Ok(bits.with_context(|| format!("no figure in {report}"))? / 1e9)
    }

    fn podman(&self, number: usize) -> Result<&Podman> {
        number.checked_sub(1).and_then(|at| self.podmans.get(at)).with_context(|| format!("no podman on host{number}"))
    }

    fn say(&self, line: &str) -> Result<()> {
        say(self.form, line)
    }

    /// Leaves the hosts up; returns how to look around and how to end it.
    pub(crate) fn keep(self) -> Result<String> {
        let binaries = binary("raddle")?;
        let hosts: Vec<String> =
            self.stage.hosts().iter().map(|host| format!("  {}: {}", host.name(), host.entrance())).collect();
        let podman = self.podman(1)?.environment().join(" ");
        for router in self.routers {
            router.into_process().keep();
        }
        let down = self.stage.keep()?;
        Ok(format!(
            "\nThe hosts stay up. A shell on one of them:\n{}\nthere, for example:\n  {} peers\n  {podman} podman ps    (host1)\n\
             Take everything down with\n  {}",
            hosts.join("\n"),
            binaries.display(),
            down.display()
        ))
    }
}

/// What stands on the page, and may stand nowhere on the underlay.
const PAGE: &str = "A raddle keeps every thread in its own place while the warp is moved.";
/// Some packets' worth of page, so that a fetch is more than one segment.
const PAGE_LINES: usize = 60;
/// Two seconds of fetches by each client: a steady state before the move and after it.
const ENOUGH: usize = 20;
/// Far longer than a move may take; when it ends the demo has failed, and says what it waited for.
const FETCHED: Duration = Duration::from_secs(60);
