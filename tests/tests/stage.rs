//! The stage itself, without Raddle: what the other tests trust is shown here with Debian's own plugins.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Capture, Container, Containerd, Image, Plugin, Podman, Stage, Underlay, binary, run, until};

#[test]
fn hosts_reach_one_another_until_they_are_cut() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 9000 })?;
    let (one, two) = (stage.host(1)?, stage.host(2)?);
    let ping = |to: &str| one.run(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "8972", to]);
    let ping6 = |to: &str| one.run(&["ping", "-c", "1", "-W", "1", "-M", "do", "-s", "8952", to]);
    ping(&two.underlay().to_string())?.ok()?;
    ping6(&two.underlay6().to_string())?.ok()?;
    stage.cut(one, two)?;
    ping(&two.underlay().to_string())?.refused()?;
    stage.mend()?;
    ping(&two.underlay().to_string())?.ok()?;
    ensure!(two.run(&["hostname"])?.ok()? == "host2");
    Ok(())
}

#[test]
fn a_capture_shows_what_is_sent_in_clear() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let (one, two) = (stage.host(1)?, stage.host(2)?);
    let capture = Capture::start(&stage, "clear")?;
    let probe = binary("probe")?.display().to_string();
    one.run(&[&probe, "say", &format!("{}:9", two.underlay()), "in clear words"])?.ok()?;
    one.run(&["ping", "-c", "1", "-W", "1", &two.underlay().to_string()])?.ok()?;
    let recording = capture.finish()?;
    ensure!(recording.occurrences(b"in clear words") >= 1, "the capture misses what passed");
    // The datagram, the echo and its answer, and the port-unreachable about the datagram; not the hosts' own ARP.
    ensure!(recording.clear()?.len() >= 3, "{recording:?}");
    ensure!(recording.sealed_bytes() == 0);
    Ok(())
}

#[test]
fn a_stage_leaves_nothing() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let directory = stage.directory().to_path_buf();
    let host = stage.host(1)?.clone();
    let mut left = host.spawn("left", &["sleep", "1000"])?;
    Container::try_start(&host, Plugin::Bridge, "c1", None)?.map_err(|answer| anyhow::anyhow!("{answer:?}"))?;
    drop(stage);
    ensure!(!directory.exists(), "{} is still there", directory.display());
    ensure!(left.wait(Duration::from_secs(5))?.is_none(), "a process outlived its stage");
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains("raddle-stage"), "{mounts}");
    Ok(())
}

#[test]
fn bare_containers_are_attached_and_detached() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let start =
        |id| Container::try_start(host, Plugin::Bridge, id, None)?.map_err(|answer| anyhow::anyhow!("{answer:?}"));
    let (one, two) = (start("c1")?, start("c2")?);
    one.until_reaches(two.address()?)?;
    ensure!(one.mtu_bytes()? == 1400);
    ensure!(host.container_links()?.len() == 2);
    one.stop()?;
    two.stop()?;
    ensure!(host.container_links()?.is_empty());
    let (code, message) = two.verb("ADD", &json!({}))?.failed()?;
    ensure!(code != 0 && !message.is_empty(), "an ADD without a namespace is refused");
    Ok(())
}

#[test]
fn engines_run_containers_on_their_hosts() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let image = Image::pack(stage.directory(), &[binary("probe")?])?;
    let podman = Podman::on(stage.host(1)?, &image, Plugin::Bridge)?;
    podman.start("web", &[], &["probe", "tcp-echo", "0.0.0.0:7"])?.ok()?;
    until("the server is ready", Duration::from_secs(10), || Ok(podman.logs("web")?.contains("ready").then_some(())))?;
    let (address, mac) = podman.address("web")?;
    ensure!(address.starts_with("10.88.") && mac.len() == 17, "{address} {mac}");
    stage.host(1)?.run(&[&binary("probe")?.display().to_string(), "tcp-stream", &format!("{address}:7"), "1"])?.ok()?;
    podman.remove("web")?;
    ensure!(stage.host(1)?.container_links()?.is_empty());

    let archive = podman.archive()?;
    let containerd = Containerd::on(stage.host(2)?, &archive, Plugin::Bridge)?;
    let shown = containerd.once("c1", &["ip", "-4", "address", "show", "eth0"])?.ok()?;
    ensure!(shown.contains("10.88."), "{shown}");
    // `ctr` says DEL without a namespace: this plugin leaves its veth pair to the kernel, which takes its time.
    until("the links go", Duration::from_secs(10), || Ok(stage.host(2)?.container_links()?.is_empty().then_some(())))
}

/// The owner is this test in a process of its own, which dies as no code of its own can notice.
#[test]
fn a_stage_goes_with_its_owner() -> Result<()> {
    if std::env::var_os(OWNER).is_some() {
        let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
        let _sleeper = stage.host(1)?.spawn("sleeper", &["sleep", "1000"])?;
        println!("stage at {}", stage.directory().display());
        std::thread::park();
    }
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_stage_goes_with_its_owner", "--nocapture"])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(owner.stdout.take().context("no stdout")?).lines();
    let directory = loop {
        let line = lines.next().context("the owner ended early")??;
        if let Some((_, directory)) = line.split_once("stage at ") {
            break directory.to_owned();
        }
    };
    ensure!(fs::exists(&directory)?);
    owner.kill()?;
    owner.wait()?;
    until("the stage goes", Duration::from_secs(20), || Ok((!fs::exists(&directory)?).then_some(())))?;
    let mut sleepers = Command::new("pgrep");
    sleepers.args(["-f", &format!("host.sh {directory} ")]);
    run(sleepers, b"")?.refused()?;
    Ok(())
}

const OWNER: &str = "RADDLE_TEST_OWNS_A_STAGE";
