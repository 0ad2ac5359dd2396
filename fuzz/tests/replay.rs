//! The targets without a fuzzer: all of the corpus, and inputs that are made from it by chance.
//!
//! Any toolchain runs this. What it finds it leaves in a file, and says how to see it again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fuzz::targets::{ALL, Target};

/// How many inputs are made for each target, unless `EDGELOOP_FUZZ_INPUTS` says otherwise.
const INPUTS: u64 = 5000;

/// The longest of them.
const LONGEST: usize = 4096;

/// A source of chance: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// An input like these, and yet another one.
    fn vary(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 => input.truncate(at),
                1 => input.insert(at, self.next() as u8),
                2 if at < input.len() => input[at] = self.next() as u8,
                3 if at < input.len() => input[at] ^= 1 << self.below(8),
                4 if at < input.len() => drop(input.remove(at)),
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    let piece = &other[from..from + self.below(other.len() - from + 1)];
                    input.splice(at..at, piece.iter().copied());
                }
            }
        }
        input.truncate(LONGEST);
        input
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// The files of the corpus, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).expect("every target has a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[track_caller]
fn run(name: &str, target: Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        let path = std::env::temp_dir().join(format!("edgeloop-fuzz-{name}"));
        fs::write(&path, input).expect("the temporary directory can be written to");
        let path = path.display();
        panic!(
            "{name} fails with {what}\nreplay with: EDGELOOP_FUZZ_INPUT={path} cargo test \
             --release --no-default-features --manifest-path fuzz/Cargo.toml --test replay {name}"
        );
    }
}

fn replay(name: &str) {
    let &(name, target) = ALL.iter().find(|(of, _)| *of == name).expect("a target");
    if let Some(path) = std::env::var_os("EDGELOOP_FUZZ_INPUT") {
        return target(&fs::read(path).expect("the input can be read"));
    }
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (path, input) in &corpus {
        run(name, target, input, &path.display().to_string());
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let count = number("EDGELOOP_FUZZ_INPUTS").unwrap_or(INPUTS);
    let seed = number("EDGELOOP_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        now.as_secs()
    });
    println!("{name}: {} files, {count} inputs of EDGELOOP_SEED={seed}", inputs.len());
    let mut random = Random::new(seed);
    for number in 0..count {
        let input = random.vary(&inputs);
        run(name, target, &input, &format!("input {number} of EDGELOOP_SEED={seed}"));
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(ALL.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

replays! { addresses arguments escape input output server values wheel }
