//! Every fuzz target on stable, for some seconds: over the kept corpus, over every input that ever found a bug, and
//! over seeded random inputs, half of them mutations of kept ones.
//!
//! `ROPEWAY_FUZZ_INPUTS=100000` runs so many random inputs for each target, `ROPEWAY_FUZZ_SEED=7` others. A failure
//! prints its input, and then the story of what happened.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{env, fs};

use ropeway_fuzz_bodies::reach::{PAIR, Reach, STACK};
use ropeway_fuzz_bodies::{differential, ethernet, fragments, pack, pair, parse, stack, tell_stories, train};

const DEFAULT_INPUTS: u64 = 3000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("it is below a usize")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn try_one(name: &str, target: fn(&[u8]), input: &[u8], from: &str) {
    if catch_unwind(|| target(input)).is_ok() {
        return;
    }
    eprintln!("\n--- the story of the same input again ({name}, {from}): {input:02x?}");
    tell_stories();
    target(input);
    panic!("the second time, nothing was wrong: the target is not deterministic");
}

fn run(name: &str, target: fn(&[u8])) {
    let kept = pack::unpack(&fs::read(directory("corpus").join(format!("{name}.pack"))).expect("a corpus"));
    assert!(kept.len() > 20, "{name} has hardly any corpus");
    for input in &kept {
        try_one(name, target, input, "of the corpus");
    }
    let mut crashes = 0;
    for crash in fs::read_dir(directory("crashes").join(name)).into_iter().flatten() {
        let path = crash.expect("an entry").path();
        crashes += 1;
        try_one(name, target, &fs::read(&path).expect("an input"), &path.display().to_string());
    }
    let mut random = Random(number("ROPEWAY_FUZZ_SEED", 1));
    let inputs = number("ROPEWAY_FUZZ_INPUTS", DEFAULT_INPUTS);
    for _ in 0..inputs {
        let input = if random.below(2) == 0 {
            let len = random.below(96);
            random.bytes(len)
        } else {
            mutation(&mut random, &kept)
        };
        try_one(name, target, &input, "random");
    }
    println!("{name}: {} kept, {crashes} that once found a bug, {inputs} random", kept.len());
}

/// Two kept inputs spliced, and a few bytes changed.
fn mutation(random: &mut Random, kept: &[Vec<u8>]) -> Vec<u8> {
    let (one, other) = (&kept[random.below(kept.len())], &kept[random.below(kept.len())]);
    let mut input = one[..random.below(one.len() + 1)].to_vec();
    input.extend_from_slice(&other[random.below(other.len() + 1)..]);
    for _ in 0..random.below(4) {
        let at = random.below(input.len());
        if let Some(byte) = input.get_mut(at) {
            *byte = random.next().to_le_bytes()[0];
        }
    }
    input
}

#[test]
fn parse_target() {
    run("parse", parse);
}

#[test]
fn differential_target() {
    run("differential", differential);
}

#[test]
fn train_target() {
    run("train", train);
}

#[test]
fn ethernet_target() {
    run("ethernet", ethernet);
}

#[test]
fn fragments_target() {
    run("fragments", fragments);
}

/// A target that does not get to what it is there for finds nothing there.
fn reaches_all(name: &str, reach: &Reach) {
    for (what, times) in reach.told() {
        println!("{name}: {times:>8} executions with {what}");
    }
    let missed: Vec<&str> = reach.told().filter(|(_, times)| *times == 0).map(|(what, _)| what).collect();
    assert!(missed.is_empty(), "{name} does not come upon {missed:?}");
}

#[test]
fn stack_target() {
    run("stack", stack);
    reaches_all("stack", &STACK);
}

#[test]
fn pair_target() {
    run("pair", pair);
    reaches_all("pair", &PAIR);
}
