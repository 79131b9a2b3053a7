//! Every decoder that reads what somebody else wrote takes any bytes: the committed corpus, and mutations of it.
//!
//! The corpus in `tests/corpus` is also the memory of the formats: what a version has written once must be written so for
//! as long as the version's number stands. `RADDLE_WRITE_CORPUS=1` writes the seeds anew when a format is added.
//! `RADDLE_FUZZ=cni-call:600` spends that many seconds on mutations of one target.

#[path = "fuzz/calls.rs"]
mod calls;
#[path = "fuzz/routers.rs"]
mod routers;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{seeds::seeds, targets::targets};

/// Mutations of each file of the corpus: some seconds of unoptimised code in all.
const MUTATIONS: u64 = 10_000;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn files(target: &str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = corpus(target);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no corpus {}", folder.display()))? {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        files.push((path, bytes));
    }
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

#[test]
fn the_corpus_holds_every_kind_as_it_is_written() -> Result<()> {
    let write = std::env::var_os("RADDLE_WRITE_CORPUS").is_some();
    for (target, name, bytes) in seeds()? {
        ensure!(targets().any(|(known, _)| known == target), "no target {target}");
        let path = corpus(target).join(name);
        if write {
            fs::create_dir_all(corpus(target))?;
            fs::write(&path, &bytes)?;
        }
        let committed = fs::read(&path).with_context(|| format!("{} is not in the corpus", path.display()))?;
        ensure!(committed == bytes, "{} is not what this version writes: has a format changed?", path.display());
    }
    Ok(())
}

#[test]
fn every_decoder_takes_the_corpus() -> Result<()> {
    for (target, decode) in targets() {
        for (_, bytes) in files(target)? {
            decode.take(&bytes);
        }
    }
    Ok(())
}

#[test]
fn every_decoder_takes_every_prefix_of_the_corpus() -> Result<()> {
    for (target, decode) in targets() {
        for (_, bytes) in files(target)? {
            // Long ones at their begin and end: what is between is more of the same list.
            for length in (0..bytes.len()).filter(|length| *length < 300 || bytes.len() - length < 50) {
                decode.take(bytes.get(..length).unwrap_or_default());
            }
        }
    }
    Ok(())
}

#[test]
fn every_decoder_takes_mutations_of_the_corpus() -> Result<()> {
    for (target, decode) in targets() {
        let files = files(target)?;
        for (at, (path, bytes)) in files.iter().enumerate() {
            for round in 0..MUTATIONS {
                let mut dice = Dice::new(mix(round) ^ at as u64);
                let mut mutant = bytes.clone();
                for _ in 0..=dice.below(3) {
                    dice.mutate(&mut mutant, &files);
                }
                let caught = std::panic::catch_unwind(|| decode.take(&mutant));
                ensure!(
                    caught.is_ok(),
                    "{target} falls over a mutation ({round}) of {}: {mutant:02x?}",
                    path.display()
                );
            }
        }
    }
    Ok(())
}

/// The mutations of all files of a target in turn, for as long as somebody wants to wait.
#[test]
fn one_decoder_takes_mutations_for_as_long_as_is_asked() -> Result<()> {
    let asked = std::env::var("RADDLE_FUZZ").unwrap_or_else(|_| String::from("cni-call:2"));
    let (wanted, seconds) = asked.split_once(':').context("RADDLE_FUZZ=TARGET:SECONDS")?;
    let (_, decode) =
        targets().find(|(target, _)| *target == wanted).with_context(|| format!("no target {wanted:?}"))?;
    let (files, until) = (files(wanted)?, Instant::now() + Duration::from_secs(seconds.parse()?));
    let mut round = 0;
    while Instant::now() < until {
        for (path, bytes) in &files {
            let mut dice = Dice::new(mix(round));
            let mut mutant = bytes.clone();
            for _ in 0..=dice.below(8) {
                dice.mutate(&mut mutant, &files);
            }
            let caught = std::panic::catch_unwind(|| decode.take(&mutant));
            ensure!(caught.is_ok(), "{wanted} falls over a mutation ({round}) of {}: {mutant:02x?}", path.display());
            round += 1;
        }
    }
    eprintln!("{wanted}: {round} mutations");
    Ok(())
}

fn mix(round: u64) -> u64 {
    round.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Seeded, so that what fails once fails again.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*: Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default().checked_rem(limit).unwrap_or_default()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, files: &[(PathBuf, Vec<u8>)]) {
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => flip(bytes, at, 1 << self.below(8)),
            1 => flip(bytes, at, 0xff),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0, 0x7f, 0x80, 0xff][self.below(4)]),
            4 => drop(bytes.drain(at..(at + self.below(8)).min(bytes.len()))),
            5 => {
                // Large numbers where a length may stand.
                let number =
                    [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 1, 0, 0], [0xff, 0xff, 0xff, 0x0f]][self.below(4)];
                bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
            }
            _ => {
                let other = &files[self.below(files.len())].1;
                let from = self.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= bits;
    }
}
