//! Disks that are full, hosts that lose power while a router is made, and disks that went back in time.

use std::{
    collections::BTreeMap,
    fs,
    io::{Seek as _, Write as _},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{ClientError, ErrorKind, Health, LeaseState, StoreState};
use tests::{Cluster, Container, Host, PASSWORD, Router, Stage, Underlay, password_file, peer, until};

use crate::client::Asker;

/// Where a router keeps its store.
pub(crate) const DATA: &str = "/var/lib/raddle";

/// The addresses of containers that run on the asker's host.
pub(crate) fn active(asker: &Asker, owner: &str) -> Result<BTreeMap<String, Ipv4Addr>> {
    let leases = asker.leases()?.into_iter().filter(|lease| lease.state == LeaseState::Active && lease.owner == owner);
    Ok(leases.filter_map(|lease| Some((lease.container_id?, lease.address))).collect())
}

#[test]
fn a_full_disk_gives_no_address_and_is_gone_on_with_when_there_is_space() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let second = stage.host(2)?;
    on_a_small_disk(second)?;
    let mut cluster = Cluster::form(&stage)?;
    let (one, two) = (Container::start(stage.host(1)?, "one", None)?, Container::start(second, "two", None)?);
    one.until_reaches(two.address()?)?;
    let asker = Asker::of(second);
    let mut given = BTreeMap::from([(String::from("before"), asker.allocate("before", None)?)]);

    fill(second)?;
    let (mut number, mut took) = (0, Duration::ZERO);
    let refusal = loop {
        number += 1;
        let (name, begun) = (format!("during-{number}"), Instant::now());
        match asker.allocate(&name, None) {
            Ok(address) => drop(given.insert(name, address)),
            Err(ClientError::Refused(refusal)) => {
                took = took.max(begun.elapsed());
                break refusal;
            }
            Err(other) => bail!("{other}"),
        }
        ensure!(number < 60, "a full disk takes everything");
    };
    ensure!(refusal.code == ErrorKind::ReadOnly, "{refusal:?}");
    ensure!(refusal.remedy.as_deref().unwrap_or_default().contains("free space"), "{refusal:?}");
    let status = asker.status()?;
    ensure!((status.store, status.health) == (StoreState::ReadOnly, Health::Failing), "{status:?}");
    // Traffic goes on.
    one.run(&["ping", "-c", "5", "-i", "0.1", "-W", "1", &two.address()?.to_string()])?.ok()?;

    second.run(&["rm", &format!("{DATA}/rubbish")])?.ok()?;
    let freed = Instant::now();
    let after =
        until("addresses are given again", Duration::from_secs(30), || Ok(Some(asker.allocate("after", None)?)))?;
    let back = freed.elapsed();
    given.insert(String::from("after"), after);
    let status = asker.status()?;
    ensure!((status.store, status.health) == (StoreState::Ok, Health::Ok), "{status:?}");
    cluster.router_mut(2)?.kill()?;
    cluster.router_mut(2)?.start_again()?;
    let kept = active(&asker, "host2")?;
    ensure!(given.iter().all(|(name, address)| kept.get(name) == Some(address)), "{given:?} {kept:?}");
    one.until_reaches(two.address()?)?;
    writeln!(
        std::io::stdout(),
        "{number} claims until refused, in {took:?}; given again {back:?} after there was space"
    )?;
    Ok(())
}

/// A token is listed as long as it is good, and withdrawn when that was said.
#[test]
fn a_full_disk_makes_no_token_and_withdraws_none() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    on_a_small_disk(host)?;
    host.raddle(&["init"])?.ok()?;
    let mut router = Router::start(host, &[])?;
    let listed = |router: &Router| -> Result<Vec<String>> {
        let answer = router.raddle(&["token", "list", "--output", "json"])?.json()?;
        let tokens = answer["tokens"].as_array().into_iter().flatten();
        Ok(tokens.filter_map(|token| Some(token["id"].as_str()?.to_owned())).collect())
    };
    router.token(&[])?;
    fill(host)?;
    let mut made = 1;
    let said = loop {
        let created = router.raddle(&["token", "create"])?;
        if !created.is_ok() {
            break created.refused()?.1;
        }
        made += 1;
        ensure!(made < 60, "a full disk takes everything");
    };
    ensure!(said.contains("free space"), "{said}");
    let tokens = listed(&router)?;
    ensure!(tokens.len() == made, "{made} tokens were given: {tokens:?}");
    let leaked = tokens.first().context("no token was made")?;
    let (_, said) = router.raddle(&["token", "withdraw", leaked])?.refused()?;
    ensure!(said.contains("not withdrawn") && said.contains("free space"), "{said}");
    ensure!(listed(&router)? == tokens, "a token that is still good is not listed");

    host.run(&["rm", &format!("{DATA}/rubbish")])?.ok()?;
    until("the token is withdrawn", Duration::from_secs(30), || {
        Ok(router.raddle(&["token", "withdraw", leaked])?.is_ok().then_some(()))
    })?;
    router.kill()?;
    router.start_again()?;
    ensure!(listed(&router)? == tokens.iter().skip(1).cloned().collect::<Vec<_>>(), "a withdrawn token came back");
    Ok(())
}

#[test]
fn a_router_that_found_no_space_is_made_when_there_is_some() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let password = password_file(host, PASSWORD)?;
    let init = ["init", "--password-file", &password];
    on_a_small_disk(host)?;
    fill(host)?;
    for more in ["0", "4K", "4K", "4K"] {
        host.run(&["truncate", "-s", &format!("-{more}"), &format!("{DATA}/rubbish")])?.ok()?;
        let (_, said) = host.raddle(&init)?.refused()?;
        ensure!(said.contains("No space left"), "{more} more: {said}");
    }
    host.run(&["rm", &format!("{DATA}/rubbish")])?.ok()?;
    host.raddle(&init)?.ok()?;
    Router::start(host, &[])?;
    Ok(())
}

#[test]
fn a_router_that_was_killed_while_it_was_made_is_made_by_the_same_command() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let password = password_file(host, PASSWORD)?;
    for files in 1..=6 {
        host.run(&["rm", "-rf", DATA])?.ok()?;
        host.run(&["python3", "-c", KILL, DATA, &files.to_string(), "raddle", "init", "--password-file", &password])?
            .ok()?;
        let again = host.raddle(&["init", "--password-file", &password])?;
        if !again.is_ok() {
            let (_, said) = again.refused()?;
            ensure!(said.contains("already holds a router"), "killed at {files} files: {said}");
        }
        Router::start(host, &[]).with_context(|| format!("killed at {files} files"))?;
    }
    Ok(())
}

/// Runs a command, and kills it when so many files are in the folder.
const KILL: &str = "
import os, subprocess, sys
folder, files, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
begun = subprocess.Popen(command)
while begun.poll() is None:
    if os.path.isdir(folder) and len(os.listdir(folder)) >= files:
        begun.kill()
        begun.wait()
";

fn on_a_small_disk(host: &Host) -> Result<()> {
    host.run(&["mkdir", "-p", DATA])?.ok()?;
    host.run(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", DATA])?.ok()?;
    Ok(())
}

fn fill(host: &Host) -> Result<()> {
    host.run(&["sh", "-c", &format!("cat /dev/zero > {DATA}/rubbish || true")])?.ok()?;
    Ok(())
}

#[test]
fn a_store_restored_in_place_is_found_out_and_nobody_else_is_harmed() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let (first, second, third) = (Asker::of(stage.host(1)?), Asker::of(stage.host(2)?), Asker::of(stage.host(3)?));
    let path = stage.host(2)?.root().join(format!("{DATA}/ledger.redb").trim_start_matches('/'));
    second.allocate("before", None)?;
    second.allocate("moving", Some("web"))?;

    cluster.router_mut(2)?.kill()?;
    let copy = fs::read(&path)?;
    cluster.router_mut(2)?.start_again()?;
    cluster.until_whole()?;
    // Forgotten by the copy: an address that went to another host, and one that nobody else ever heard of.
    second.release("moving")?;
    let moved = first.allocate("moved", Some("web"))?;
    second.allocate("after", None)?;
    let restored = Instant::now();
    cluster.router_mut(2)?.kill()?;
    let mut store = fs::OpenOptions::new().write(true).open(&path)?;
    store.rewind()?;
    store.set_len(0)?;
    store.write_all(&copy)?;
    store.sync_all()?;
    drop(store);
    cluster.router_mut(2)?.start_again()?;

    until("the restored router gives nothing", ROUND, || match second.allocate("late", None) {
        Err(ClientError::Refused(refusal)) if refusal.code == ErrorKind::NotReady => {
            ensure!(refusal.remedy.as_deref().unwrap_or_default().contains("raddle revoke"), "{refusal:?}");
            Ok(Some(()))
        }
        other => bail!("{other:?}"),
    })?;
    let found = restored.elapsed();
    let status = second.status()?;
    ensure!(
        status.health == Health::Failing && status.warnings.join(" ").contains("restored from a copy"),
        "{status:?}"
    );
    cluster.router(2)?.until_logs(&["restored from a copy", "raddle revoke host2"])?;
    refuses_who_joins(&stage, cluster.router(2)?)?;
    ensure!(active(&first, "host1")?.get("moved") == Some(&moved), "the address that moved was taken back");
    first.allocate("other", None)?;
    third.allocate("other", None)?;
    joins_anew(&stage, &mut cluster)?;
    writeln!(std::io::stdout(), "found out {found:?} after it was stopped to be restored")?;
    Ok(())
}

/// It gives nothing away, and keeps the token for when it can.
fn refuses_who_joins(stage: &Stage, restored: &Router) -> Result<()> {
    let token = restored.token(&[])?;
    let words = ["--data-dir", "/run/joiner", "join", &token, &peer(stage.host(2)?), "--name", "joiner"];
    let (_, said) = stage.host(3)?.raddle(&words)?.refused()?;
    ensure!(said.contains("restored from a copy") && said.contains("ask another one"), "{said}");
    let tokens = restored.raddle(&["token", "list"])?.ok()?;
    ensure!(tokens.contains("live"), "{tokens}");
    Ok(())
}

/// The way back that was named.
fn joins_anew(stage: &Stage, cluster: &mut Cluster) -> Result<()> {
    let second = stage.host(2)?;
    cluster.router_mut(2)?.kill()?;
    // Host 3 promises as soon as it does not see it alive any more.
    until("the restored router is revoked", ROUND, || {
        Ok(cluster.router(1)?.raddle(&["revoke", "host2"])?.is_ok().then_some(()))
    })?;
    second.run(&["rm", "-r", DATA])?.ok()?;
    let token = cluster.router(1)?.token(&[])?;
    second.raddle(&["join", &token, &peer(stage.host(1)?)])?.ok()?;
    cluster.router_mut(2)?.start_again()?;
    cluster.until_whole()?;
    Asker::of(second).allocate("fresh", None).context("after joining anew")?;
    Ok(())
}

/// A round of anti-entropy, with time for the sessions before it.
const ROUND: Duration = Duration::from_secs(30);
