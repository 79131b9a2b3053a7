//! Hosts behind NATs of their own: they reach others, and nobody reaches them who was not called first.

use anyhow::{Result, ensure};
use tests::{Capture, Cluster, Host, Stage, Underlay};

use super::{DIRECT, PLAINTEXT, RELAY, ends, speak, until_path};

/// What a NAT does to the ports of those behind it.
#[derive(Debug, Clone, Copy)]
enum Ports {
    /// They stay what they are where that is possible, as at most home routers.
    Kept,
    /// Another one for each far end, which nobody can guess.
    Random,
}

/// Puts a host behind a NAT, for which another host stands. They share a cable on which nobody else is.
fn hide(stage: &Stage, inner: usize, nat: usize, ports: Ports) -> Result<()> {
    let net = format!("192.168.{inner}");
    let (inner, nat) = (stage.host(inner)?, stage.host(nat)?);
    shell(
        inner,
        &format!(
            "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 && ip address flush dev eth0 &&
             ip address add {net}.2/24 dev eth0 && ip route add default via {net}.1"
        ),
    )?;
    shell(
        nat,
        &format!(
            "ip address add {net}.1/24 dev eth0 &&
             sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0 net.ipv4.ip_forward=1"
        ),
    )?;
    let how = match ports {
        Ports::Kept => "",
        Ports::Random => "fully-random",
    };
    // What nobody asked for is dropped before the kernel of the NAT itself answers it.
    let rules = format!(
        "table ip nat {{
           chain opened {{ type nat hook prerouting priority dstnat; }}
           chain out {{ type nat hook postrouting priority srcnat; ip saddr {net}.0/24 masquerade {how}; }}
           chain input {{ type filter hook input priority 0; meta l4proto {{ tcp, udp }} ct state new drop; }}
           chain forward {{ type filter hook forward priority 0; policy drop;
             ip saddr {net}.0/24 accept; ct state established,related accept; ct status dnat accept; }}
         }}"
    );
    nat.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
    let (inner, nat) = (inner.name(), nat.name());
    let rules = format!(
        "table bridge {inner} {{ chain forward {{ type filter hook forward priority 0;
           iifname {inner} oifname != {nat} drop; oifname {inner} iifname != {nat} drop; }}; }}"
    );
    stage.switch().run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
    Ok(())
}

/// Makes a NAT hand over to the host behind it whatever comes, to any port.
fn open(stage: &Stage, inner: usize, nat: usize) -> Result<()> {
    let rule = format!(
        "nft add rule ip nat opened ip daddr 10.99.0.{nat} udp dport 1024-65535 dnat to 192.168.{inner}.2:6783"
    );
    shell(stage.host(nat)?, &rule)
}

fn shell(host: &Host, script: &str) -> Result<()> {
    host.run(&["sh", "-c", script])?.ok()?;
    Ok(())
}

/// Hosts 2 and 3 are behind hosts 4 and 5, which have no router; everybody reaches host 1.
fn form(stage: &Stage, ports: Ports) -> Result<Cluster> {
    hide(stage, 2, 4, ports)?;
    hide(stage, 3, 5, ports)?;
    let mut cluster = Cluster::form_alone(stage)?;
    cluster.join(stage.host(2)?)?;
    cluster.join(stage.host(3)?)?;
    cluster.until_whole()?;
    Ok(cluster)
}

#[test]
fn hosts_behind_two_nats_talk_by_a_third_that_reads_nothing_until_one_nat_opens() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 5, mtu_bytes: 1500 })?;
    let capture = Capture::start(&stage, "capture")?;
    let cluster = form(&stage, Ports::Random)?;
    let relayed = until_path(&cluster, &RELAY)?;
    let (two, three) = ends(&stage)?;
    speak(&two, &three)?;
    let recording = capture.finish()?;
    ensure!(recording.occurrences(PLAINTEXT) == 0 && recording.fragments() == 0, "plaintext or pieces on the underlay");
    ensure!(recording.sealed_bytes() > 50_000, "only {} bytes were sealed", recording.sealed_bytes());
    open(&stage, 2, 4)?;
    let direct = until_path(&cluster, &DIRECT)?;
    speak(&two, &three)?;
    println!("two NATs: by the relay after {relayed:.1?}, direct {direct:.1?} after one of them opened");
    Ok(())
}

#[test]
fn hosts_behind_two_nats_that_keep_ports_find_each_other() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 5, mtu_bytes: 1500 })?;
    let cluster = form(&stage, Ports::Kept)?;
    let direct = until_path(&cluster, &DIRECT)?;
    let (two, three) = ends(&stage)?;
    speak(&two, &three)?;
    println!("two NATs that keep ports: direct after {direct:.1?}");
    Ok(())
}
