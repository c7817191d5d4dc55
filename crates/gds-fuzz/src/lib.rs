//! Fuzz targets that `cargo test` runs, too.
//!
//! A crate names its [`Target`]s in a module `fuzz`. The folder `fuzz/` of the tree gives them to libFuzzer, which is led by
//! coverage and runs as long as one lets it. Tests call [`Target::check`]: the same functions, on the inputs that once
//! failed, on the seeds, and on mutations of these that are the same in each run.
//!
//! ```
//! use gds_fuzz::Target;
//!
//! fn digits(bytes: &[u8]) {
//!     let text = String::from_utf8_lossy(bytes);
//!     if let Ok(number) = text.parse::<u8>() {
//!         assert_eq!(number.to_string().parse(), Ok(number));
//!     }
//! }
//!
//! const DIGITS: Target = Target { name: "digits", run: digits, seeds: || vec![b"12".to_vec()], words: &["255", "+"] };
//! DIGITS.check(1_000);
//! ```

mod mutate;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use mutate::Mutator;

/// What multiplies the rounds of all targets.
const ROUNDS: &str = "GDS_FUZZ_ROUNDS";

/// A function that any bytes are given to: it panics where something does not hold.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its program in `fuzz/fuzz_targets/`.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces of text that inputs are made of; none where they are no text.
    pub words: &'static [&'static str],
}

impl Target {
    /// Runs the inputs that once failed, the seeds, and so many mutations of them, times the number in `GDS_FUZZ_ROUNDS`
    /// where that is set.
    ///
    /// # Panics
    ///
    /// When the function does, after the input was printed; and when there is no seed.
    pub fn check(&self, rounds: usize) {
        let times = std::env::var(ROUNDS).map_or(1, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{ROUNDS}={text:?}: expected how often the rounds of all targets are run"))
        });
        let mut corpus = self.regressions();
        corpus.extend((self.seeds)());
        assert!(!corpus.is_empty(), "the target {} has no seed", self.name);
        for input in &corpus {
            self.run_said(input);
        }
        let mut mutator = Mutator::new(self.name, self.words);
        let mut input = Vec::new();
        for _ in 0..rounds.saturating_mul(times) {
            mutator.mutate(&corpus, &mut input);
            self.run_said(&input);
        }
    }

    /// Inputs of the folder `fuzz/regressions/`, by name.
    fn regressions(&self) -> Vec<Vec<u8>> {
        let folder = tree().join("fuzz/regressions").join(self.name);
        let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
    }

    fn run_said(&self, input: &[u8]) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.run)(input))) {
            eprintln!("the target {} fails on b\"{}\"", self.name, input.escape_ascii());
            resume_unwind(panic);
        }
    }

    /// Writes the seeds into a folder for libFuzzer, and the words into a dictionary beside it.
    pub fn write_corpus(&self, folder: &Path) -> std::io::Result<()> {
        let own = folder.join(self.name);
        fs::create_dir_all(&own)?;
        for (at, seed) in self.regressions().into_iter().chain((self.seeds)()).enumerate() {
            fs::write(own.join(format!("seed-{at:04}")), seed)?;
        }
        let words = self
            .words
            .iter()
            .fold(String::new(), |words, word| words + "\"" + &word.escape_default().to_string() + "\"\n");
        fs::write(folder.join(format!("{}.dict", self.name)), words)
    }
}

fn tree() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn target(run: fn(&[u8])) -> Target {
        Target { name: "of the tests", run, seeds: || vec![b"abcdef".to_vec(), b"uvwxyz".to_vec()], words: &["sum("] }
    }

    #[test]
    fn an_input_that_fails_is_found_and_its_panic_passed_on() {
        let target = target(|bytes| assert!(!bytes.contains(&0x80), "a byte"));
        let panic = catch_unwind(|| target.check(10_000)).unwrap_err();
        assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("a byte")));
    }

    #[test]
    fn mutations_are_many_and_the_same_in_each_run() {
        let made = |name| {
            let (mut mutator, mut input) = (Mutator::new(name, &["sum("]), Vec::new());
            let corpus = [b"abcdef".to_vec(), b"uvwxyz".to_vec()];
            let mut next = || {
                mutator.mutate(&corpus, &mut input);
                input.clone()
            };
            (0..2_000).map(|_| next()).collect::<Vec<_>>()
        };
        let one = made("one");
        assert_eq!(one, made("one"));
        assert_ne!(one, made("other"));
        let kinds: BTreeSet<_> = one.iter().collect();
        assert!(kinds.len() > 1_500, "{}", kinds.len());
        assert!(one.iter().any(|input| input.windows(4).any(|window| window == b"sum(")));
        assert!(one.iter().any(Vec::is_empty) && one.iter().all(|input| input.len() <= mutate::LONGEST));
    }

    #[test]
    fn seeds_become_a_corpus_and_words_a_dictionary() {
        let folder = std::env::temp_dir().join(format!("gds-fuzz-{}", std::process::id()));
        target(|_| {}).write_corpus(&folder).unwrap();
        assert_eq!(fs::read(folder.join("of the tests/seed-0001")).unwrap(), b"uvwxyz");
        assert_eq!(fs::read_to_string(folder.join("of the tests.dict")).unwrap(), "\"sum(\"\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_target_without_a_seed_says_so() {
        let empty = Target { seeds: Vec::new, ..target(|_| {}) };
        assert!(catch_unwind(|| empty.check(1)).is_err());
    }
}
