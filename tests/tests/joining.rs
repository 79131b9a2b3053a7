//! Who is let in, and how both sides hear why somebody is not.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh::{Secret, Token, TokenId};
use serde_json::Value;
use tests::{Cluster, Container, JoinBy, Router, Stage, Underlay, pass, password_file, peer, until};

fn stage(hosts: u8) -> Result<Stage> {
    Stage::build(Underlay { hosts, mtu_bytes: 1500 })
}

/// The first host alone, and its router.
fn first(stage: &Stage, words: &[&str]) -> Result<Router> {
    stage.host(1)?.raddle(&[&["init"], words].concat())?.ok()?;
    Router::start(stage.host(1)?, words)
}

/// A refused join says why, here and in the log of the router that refused, and leaves no half-joined host.
fn refused(stage: &Stage, router: &Router, join: &[&str], reason: &[&str]) -> Result<()> {
    let host = stage.host(2)?;
    let entrance = peer(stage.host(1)?);
    let (code, said) = host.raddle(&[&["join"], join, &[&entrance]].concat())?.refused()?;
    ensure!(code == 1, "{said}");
    for word in reason {
        ensure!(said.to_lowercase().contains(word), "no {word:?} in: {said}");
    }
    router.until_logs(reason)?;
    let (code, said) = host.raddle(&["router"])?.refused()?;
    ensure!(code == 1 && said.contains("join"), "a router without a cluster says what to do: {said}");
    Ok(())
}

/// A token with one of its parts replaced: well-formed, and not one that was given out.
fn forged(token: &str, change: impl FnOnce(&mut Token)) -> Result<String> {
    let mut token: Token = token.parse()?;
    change(&mut token);
    Ok(token.to_string())
}

#[test]
fn forged_tokens_are_refused_and_the_right_one_still_works() -> Result<()> {
    let stage = stage(2)?;
    let router = first(&stage, &[])?;
    let token = router.token(&[])?;
    refused(&stage, &router, &[&forged(&token, |token| token.id = TokenId([7; 8]))?], &["token"])?;
    refused(&stage, &router, &[&forged(&token, |token| token.secret = Secret::new([7; 32]))?], &["token"])?;
    let typo = token.replacen(['a', 'b', 'c'], "d", 1);
    let (code, said) = stage.host(2)?.raddle(&["join", &typo, &peer(stage.host(1)?)])?.refused()?;
    ensure!(code == 1 && said.contains("token"), "{said}");
    stage.host(2)?.raddle(&["join", &token, &peer(stage.host(1)?)])?.ok()?;
    Ok(())
}

#[test]
fn a_token_is_good_for_one() -> Result<()> {
    let stage = stage(3)?;
    let router = first(&stage, &[])?;
    let token = router.token(&[])?;
    stage.host(3)?.raddle(&["join", &token, &peer(stage.host(1)?)])?.ok()?;
    refused(&stage, &router, &[&token], &["token", "used"])
}

#[test]
fn a_token_expires() -> Result<()> {
    let stage = stage(2)?;
    let router = first(&stage, &[])?;
    let token = router.token(&["--ttl", "1s"])?;
    pass(Duration::from_millis(1500));
    refused(&stage, &router, &[&token], &["token", "expired"])
}

#[test]
fn a_withdrawn_token_is_refused_also_after_a_restart() -> Result<()> {
    let stage = stage(2)?;
    let mut router = first(&stage, &[])?;
    let (withdrawn, kept) = (router.token(&["--uses", "3"])?, router.token(&["--ttl", "10m"])?);
    let listed = |router: &Router| -> Result<Vec<Value>> {
        let answer = router.raddle(&["token", "list", "--output", "json"])?.json()?;
        Ok(answer["tokens"].as_array().cloned().unwrap_or_default())
    };
    let tokens = listed(&router)?;
    ensure!(tokens.len() == 2 && tokens.iter().all(|token| token["state"] == "live"), "{tokens:?}");
    let id = tokens.iter().find(|token| token["uses"] == 3).and_then(|token| token["id"].as_str());
    let id = id.unwrap_or_default().to_owned();
    let (code, said) = router.raddle(&["token", "withdraw", "zz"])?.refused()?;
    ensure!(code == 1 && said.contains("token list"), "{said}");
    router.raddle(&["token", "withdraw", &id])?.ok()?;
    refused(&stage, &router, &[&withdrawn], &["withdrawn"])?;
    router.kill()?;
    router.start_again()?;
    ensure!(listed(&router)?.len() == 1);
    refused(&stage, &router, &[&withdrawn], &["withdrawn"])?;
    stage.host(2)?.raddle(&["join", &kept, &peer(stage.host(1)?)])?.ok()?;
    ensure!(listed(&router)?.iter().all(|token| token["state"] == "used"));
    Ok(())
}

#[test]
fn a_token_of_another_cluster_is_refused() -> Result<()> {
    let stage = stage(3)?;
    let router = first(&stage, &[])?;
    stage.host(3)?.raddle(&["init"])?.ok()?;
    let other = Router::start(stage.host(3)?, &[])?;
    let token = other.token(&[])?;
    refused(&stage, &router, &[&token], &["cluster"])
}

#[test]
fn a_wrong_password_is_refused() -> Result<()> {
    let stage = stage(2)?;
    let right = password_file(stage.host(1)?, tests::PASSWORD)?;
    let router = first(&stage, &["--password-file", &right])?;
    let wrong = password_file(stage.host(2)?, "correct horse battery stable")?;
    refused(&stage, &router, &["--password-file", &wrong], &["password"])
}

#[test]
fn a_password_is_replaced_while_everything_runs() -> Result<()> {
    let stage = stage(4)?;
    let file = password_file(stage.host(1)?, tests::PASSWORD)?;
    let router = first(&stage, &["--password-file", &file])?;
    let join = |number: usize, password: &str| -> Result<Router> {
        let file = password_file(stage.host(number)?, password)?;
        Router::start(stage.host(number)?, &["--password-file", &file, &peer(stage.host(1)?)])
    };
    let _two = join(2, tests::PASSWORD)?;
    password_file(stage.host(1)?, "another horse, another battery")?;
    router.process().signal("HUP")?;
    router.until_logs(&["new password"])?;
    router.until_connected(1)?;
    // Hosts are told one after another: for a while both are good.
    let _three = join(3, "another horse, another battery")?;
    let _four = join(4, tests::PASSWORD)?;
    router.until_connected(3)
}

/// Two clusters that were made apart never become one, whatever they are told.
#[test]
fn a_router_of_another_cluster_is_refused() -> Result<()> {
    let stage = stage(2)?;
    let router = first(&stage, &[])?;
    stage.host(2)?.raddle(&["init"])?.ok()?;
    let (here, there) = (peer(stage.host(1)?), peer(stage.host(2)?));
    let other = Router::start(stage.host(2)?, &[&here])?;
    // Each side names the other, says why, and what an operator can do.
    let clusters = [router.status()?, other.status()?].map(|status| status["cluster"].as_str().map(str::to_owned));
    let [Some(first), Some(second)] = &clusters else { anyhow::bail!("a router without a cluster: {clusters:?}") };
    other.until_logs(&["belongs to another cluster", &here, first, second, "raddle join"])?;
    router.until_logs(&["belongs to another cluster", &stage.host(2)?.underlay().to_string(), first, "refused"])?;
    // The other way round, while both run.
    router.raddle(&["connect", &there])?.ok()?;
    router.until_logs(&["belongs to another cluster", &there, second, "raddle forget"])?;
    for router in [&router, &other] {
        let log = router.log()?;
        let told = |line: &&str| line.contains("connect here");
        ensure!(log.lines().filter(told).count() <= 1, "the log is told again and again: {log}");
    }
    for router in [&router, &other] {
        let status = router.status()?;
        ensure!(status.pointer("/peers/connected").and_then(Value::as_u64) == Some(0), "{status}");
    }
    Ok(())
}

/// The third is told of the first alone. That it talks to the second directly is shown by cutting it off the first.
#[test]
fn a_third_router_learns_of_the_second() -> Result<()> {
    let stage = stage(3)?;
    let cluster = Cluster::form(&stage)?;
    let names = |router: &Router| -> Result<Vec<(String, String)>> {
        let field = |peer: &Value, name: &str| peer[name].as_str().unwrap_or_default().to_owned();
        Ok(router.peers()?.iter().map(|peer| (field(peer, "name"), field(peer, "path"))).collect())
    };
    until("host3 has direct paths to both", Duration::from_secs(20), || {
        let mut seen = names(cluster.router(3)?)?;
        seen.sort();
        let direct = |name: &str| (name.to_owned(), String::from("direct"));
        Ok((seen == [direct("host1"), direct("host2")]).then_some(()))
    })?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    let three = Container::start(stage.host(3)?, "three", None)?;
    three.until_reaches(two.address()?)?;
    stage.cut(stage.host(1)?, stage.host(3)?)?;
    stage.cut(stage.host(1)?, stage.host(2)?)?;
    three.run(&["ping", "-c", "5", "-i", "0.2", "-W", "1", &two.address()?.to_string()])?.ok()?;
    Ok(())
}

#[test]
fn a_password_alone_forms_a_mesh() -> Result<()> {
    let stage = stage(3)?;
    let _cluster = Cluster::form_by(&stage, JoinBy::Password, &[])?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    let three = Container::start(stage.host(3)?, "three", None)?;
    three.until_reaches(two.address()?)
}
