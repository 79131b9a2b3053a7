//! An address that somebody insists on and cannot have: the answer says whose it is, and the way out.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail, ensure};
use tests::{Cluster, Container, Host, JoinBy, Stage, Underlay};

/// Both addresses of a place in the pool, as one may ask for either.
struct Place([String; 2]);

impl Place {
    fn of(container: &Container) -> Result<Self> {
        let ips = container.result()["ips"].as_array().context("no addresses")?;
        let text = |at: usize| ips.get(at)?["address"].as_str()?.split('/').next().map(str::to_owned);
        Ok(Self([text(0).context("no IPv4")?, text(1).context("no IPv6")?]))
    }

    /// The place with this number, in the pools that this one is in.
    fn sibling(&self, slot: u32) -> Result<Self> {
        let six: Ipv6Addr = self.0[1].parse()?;
        let six = Ipv6Addr::from_bits(six.to_bits() & !u128::from(u32::MAX) | u128::from(slot));
        let four = Ipv4Addr::from_bits(Ipv4Addr::new(10, 32, 0, 0).to_bits() + slot);
        Ok(Self([four.to_string(), six.to_string()]))
    }
}

#[test]
fn whose_it_is_and_the_way_out_are_named_in_both_families() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
    let web = Container::start(stage.host(1)?, "web", Some("shop/web"))?;
    let old = Container::start(stage.host(1)?, "old", Some("shop/db"))?;
    let (running, held) = (Place::of(&web)?, Place::of(&old)?);
    old.stop()?;
    let pool = "ask for an address of 10.32.0.0/12";
    let outside = Place([String::from("192.0.2.9"), String::from("2001:db8::9")]);
    let (base, gateway, last) = (running.sibling(0)?, running.sibling(1)?, running.sibling((1 << 20) - 1)?);
    let cases: [(&str, &Place, u64, &[&str]); 6] = [
        (
            "in use",
            &running,
            102,
            &["taken by \"shop/web\"", "container web", "host1", "ask for another address, or none"],
        ),
        ("held", &held, 102, &["taken by \"shop/db\"", "container old", "host1", "raddle release shop/db"]),
        ("outside", &outside, 7, &[pool]),
        ("the pool's own", &base, 7, &["reserved: the pool's own, the gateway's or the broadcast address", pool]),
        ("the gateway's", &gateway, 7, &["reserved", pool]),
        ("broadcast", &last, 7, &["reserved", pool]),
    ];
    let before = cluster.router(2)?.leases()?.len();
    for host in stage.hosts() {
        for (case, Place(addresses), code, words) in &cases {
            for address in addresses {
                let asked = Container::try_start_asking(host, "other", "other", &format!("IP={address}"))?;
                let Err(answer) = asked else { bail!("{case}: {address} was given on {}", host.name()) };
                let (said, message) = answer.failed()?;
                let fits = said == *code && words.iter().all(|word| message.contains(word));
                ensure!(fits, "{case}: {address} on {}: {said}: {message}", host.name());
                // What is nobody's is called as it was asked for; a holder has both.
                ensure!(*code == 102 || message.contains(address.as_str()), "{case}: {address}: {message}");
            }
        }
    }
    let links = stage.hosts().iter().map(Host::container_links).collect::<Result<Vec<_>>>()?.concat();
    ensure!(links.len() == 1, "the refused have left something: {links:?}");
    ensure!(cluster.router(2)?.leases()?.len() == before, "the refused have left leases");

    // The way out that was named.
    stage.host(1)?.raddle(&["release", "shop/db"])?.ok()?;
    let [four, _] = &held.0;
    let Err(answer) = Container::try_start_asking(stage.host(2)?, "other", "other", &format!("IP={four}"))? else {
        bail!("an address was given that has not rested")
    };
    let (code, message) = answer.failed()?;
    ensure!(
        code == 11 && message.contains("less than 120 s ago") && message.contains("try again"),
        "{code}: {message}"
    );
    Ok(())
}
