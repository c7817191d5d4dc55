//! Writes the seeds of all targets for libFuzzer.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let targets = gds_promql::fuzz::TARGETS.iter().chain(&gds_store::fuzz::TARGETS);
    targets.into_iter().try_for_each(|target| target.write_corpus(corpus))
}
