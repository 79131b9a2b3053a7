//! A MAC that somebody insists on: it goes where its container goes, changes when somebody asks for another, and whoever talks
//! to the container learns it at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Container, Host, JoinBy, Stage, Underlay, until};

/// Announcements come at 0, 100 and 500 ms; the rest is for a machine that compiles beside it.
const WAIT: Duration = Duration::from_secs(10);
const ASKED: &str = "0a:00:5e:00:53:01";
const ANOTHER: &str = "0a:00:5e:00:53:02";

fn start(host: &Host, id: &str, mac: Option<&str>) -> Result<Container> {
    let Some(mac) = mac else { return Container::start(host, id, Some("web")) };
    match Container::try_start_asking(host, id, "web", &format!("MAC={mac}"))? {
        Ok(container) => Ok(container),
        Err(answer) => bail!("ADD of {id}: {answer:?}"),
    }
}

/// A container on the third host that never doubts what it knows of its neighbours: only what is announced changes it.
struct Observer {
    container: Container,
    addresses: [String; 2],
}

impl Observer {
    fn watch(stage: &Stage, web: &Container) -> Result<Self> {
        let container = Container::start(stage.host(3)?, "observer", None)?;
        for family in ["ipv4", "ipv6"] {
            let path = format!("/proc/sys/net/{family}/neigh/eth0/base_reachable_time_ms");
            container.run(&["sh", "-c", &format!("echo 3600000 > {path}")])?.ok()?;
        }
        let ips = web.result()["ips"].as_array().context("no addresses")?;
        let address = |at: usize| ips.get(at)?["address"].as_str()?.split('/').next().map(str::to_owned);
        let addresses = [address(0).context("no IPv4")?, address(1).context("no IPv6")?];
        let observer = Self { container, addresses };
        for address in &observer.addresses {
            until(&format!("the observer reaches {address}"), WAIT, || Ok(observer.reaches(address)?.then_some(())))?;
        }
        Ok(observer)
    }

    fn reaches(&self, address: &str) -> Result<bool> {
        Ok(self.container.run(&["ping", "-c", "1", "-W", "1", address])?.is_ok())
    }

    /// What it has in its tables, for each family.
    fn knows(&self) -> Result<Vec<Option<String>>> {
        let mut known = Vec::new();
        for address in &self.addresses {
            let entries = self.container.run(&["ip", "-json", "neighbour", "show", address])?.json()?;
            known.push(entries.pointer("/0/lladdr").and_then(Value::as_str).map(str::to_owned));
        }
        Ok(known)
    }

    /// Waits until both families have the MAC, and returns how many milliseconds that took.
    fn until_knows(&self, mac: &str) -> Result<u128> {
        let since = Instant::now();
        until(&format!("the observer knows {mac}"), WAIT, || {
            Ok(self.knows()?.iter().all(|known| known.as_deref() == Some(mac)).then_some(()))
        })?;
        Ok(since.elapsed().as_millis())
    }
}

fn shown(cluster: &Cluster, number: usize) -> Result<Value> {
    let leases = cluster.router(number)?.leases()?;
    let web = leases.into_iter().find(|lease| lease["workload"] == json!("web"));
    Ok(web.with_context(|| format!("host{number} knows no web"))?["mac"].clone())
}

#[test]
fn a_mac_goes_along_and_neighbours_learn_another_at_once() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
    let mut web = start(stage.host(1)?, "web-0", Some(ASKED))?;
    let address = web.address()?;
    let [_, second, third, last] = address.octets();
    let own = &format!("02:00:00:{:02x}:{third:02x}:{last:02x}", second - 32);
    let observer = Observer::watch(&stage, &web)?;
    let starts: [(usize, Option<&str>, &str); 6] = [
        (2, None, ASKED),
        (2, Some(ANOTHER), ANOTHER),
        (1, Some(ASKED), ASKED),
        (2, Some(own), own),
        (1, None, own),
        (1, Some(ANOTHER), ANOTHER),
    ];
    for (turn, (to, wish, expected)) in (1..).zip(starts) {
        web.stop()?;
        web = start(stage.host(to)?, &format!("web-{turn}"), wish)?;
        ensure!(web.address()? == address && web.mac()? == expected, "turn {turn}: {} {}", web.address()?, web.mac()?);
        println!("host{to} with {expected}: known to the third host {} ms later", observer.until_knows(expected)?);
        for address in &observer.addresses {
            ensure!(observer.reaches(address)?, "turn {turn}: {address} is not reached");
        }
        for number in 1..=3 {
            until(&format!("host{number} shows {expected}"), WAIT, || {
                Ok((shown(&cluster, number)? == json!(expected)).then_some(()))
            })?;
        }
        ensure!(observer.knows()?.iter().all(|known| known.as_deref() == Some(expected)), "{:?}", observer.knows()?);
    }
    // All of it is on the disks.
    cluster.routers_mut().iter_mut().try_for_each(tests::Router::kill)?;
    cluster.routers_mut().iter_mut().try_for_each(tests::Router::start_again)?;
    cluster.until_whole()?;
    observer.container.until_reaches(address)?;
    ensure!(web.mac()? == ANOTHER && web.verb("CHECK", &json!({"prevResult": web.result()}))?.done()? == Value::Null);
    web.stop()
}

#[test]
fn one_that_cannot_be_had_is_refused_with_the_reason_and_the_way_out() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let web = start(stage.host(1)?, "web", Some(ASKED))?;
    let refusals: [(&str, u64, &[&str]); 5] = [
        (ASKED, 102, &["taken by \"web\"", "host1", "ask for another MAC", "raddle release web"]),
        ("01:00:5e:00:00:01", 7, &["cannot be the address of one interface", "even first byte"]),
        ("fe:00:00:00:00:01", 7, &["cannot be a container's", "even"]),
        ("02:00:00:00:00:99;IP=10.32.0.77", 7, &["10.32.0.77", "goes with 10.32.0.153", "one of them only"]),
        ("02:00:00:00:00:01", 7, &["10.32.0.1 is reserved", "ask for an address of 10.32.0.0/12"]),
    ];
    for host in stage.hosts() {
        for (wish, code, words) in refusals {
            let asked = Container::try_start_asking(host, "other", "other", &format!("MAC={wish}"))?;
            let Err(answer) = asked else { bail!("{wish} was given on {}", host.name()) };
            let (said, message) = answer.failed()?;
            ensure!(said == code && words.iter().all(|word| message.contains(word)), "{wish}: {said}: {message}");
        }
    }
    let links: Vec<_> = stage.hosts().iter().map(Host::container_links).collect::<Result<Vec<_>>>()?.concat();
    ensure!(links.len() == 1, "the refused have left something: {links:?}");
    web.stop()?;
    stage.host(1)?.raddle(&["release", "web"])?.ok()?;
    until("another workload can have it", WAIT, || {
        let tried = Container::try_start_asking(stage.host(2)?, "other", "other", &format!("MAC={ASKED}"))?;
        tried.ok().map(|other| Ok((other.mac()? == ASKED).then_some(()))).transpose().map(Option::flatten)
    })
}
