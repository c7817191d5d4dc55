//! Random numbers that a forked child does not share with its parent.
//!
//! The generator of a thread is memory, and a forked child has a copy of it: children forked one after the other would
//! all draw what the parent draws next, and take the same identity or come back from an outage at the same moment.

use std::cell::Cell;

use rand::Rng;
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::ThreadRng;

use crate::fork;

/// This thread's generator, with a seed of this process's own.
pub fn rng() -> ThreadRng {
    thread_local! {
        /// The generation that the generator was seeded in; the first one until it is asked for.
        static SEEDED: Cell<u32> = const { Cell::new(0) };
    }
    fork::watch();
    let generation = fork::generation();
    #[allow(clippy::disallowed_methods)] // the one place that may
    let mut rng = rand::rng();
    if SEEDED.replace(generation) != generation {
        // The kernel has no reason to refuse; if it did, a number drawn twice is better than none.
        let _ = rng.reseed();
    }
    rng
}

/// One number of any size.
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rng().random()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::random;
    use crate::fork::testing::{Child, FORKS};

    #[test]
    fn children_draw_other_numbers_than_their_parent_and_each_other() {
        let _alone = FORKS.write();
        let own = random::<u64>(); // seeded before the forks
        let (mut drawn, mut draws) = pipe().unwrap();
        let mut numbers = vec![own, random::<u64>()];
        for _ in 0..2 {
            let child = Child::fork_running(|_| draws.write_all(&random::<u64>().to_ne_bytes()).is_ok());
            assert!(child.answer);
            let mut bytes = [0; 8];
            drawn.read_exact(&mut bytes).unwrap();
            numbers.push(u64::from_ne_bytes(bytes));
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 4, "{numbers:?}");
    }
}
