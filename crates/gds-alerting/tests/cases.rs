//! Every file of `cases/`: what comes of it, the same in a replay, and the same when the process ends again and again.

use std::fs;
use std::path::{Path, PathBuf};

use gds_alerting::case::Case;
use gds_alerting::replay::replay;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn cases() -> Vec<(String, Case)> {
    let mut files: Vec<_> =
        fs::read_dir(folder()).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |name: &str| fs::read_to_string(folder().join(name)).map_err(|error| error.to_string());
    let case = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a text");
        let case = Case::parse(&text, read).unwrap_or_else(|problems| panic!("{name}:\n{problems}"));
        (name, case)
    };
    let found: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")).map(case).collect();
    assert!(found.len() > 30, "{} cases", found.len());
    found
}

#[test]
fn each_case_comes_out_as_expected() {
    let mut failed = Vec::new();
    for (name, case) in cases() {
        let outcome = case.run();
        failed.extend(outcome.differences.iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn restarts_change_nothing() {
    for (name, case) in cases() {
        let steady = case.run().effects;
        for every in [1, 7] {
            let restarted = case.run_restarted(every).effects;
            let first = steady.iter().zip(&restarted).position(|(one, other)| one != other);
            assert_eq!(first.map(|place| (&steady[place], &restarted[place])), None, "{name}, every {every}");
            assert_eq!(steady.len(), restarted.len(), "{name}, every {every}");
        }
    }
}

#[test]
fn a_replay_gives_the_same_bytes() {
    let mut replayed = 0;
    for (name, case) in cases() {
        if case.reloads() {
            continue;
        }
        let history = case.history();
        let lines: Vec<String> = history.iter().map(|input| serde_json::to_string(input).expect("JSON")).collect();
        let read: Vec<_> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let live = serde_json::to_string(&case.run().effects).expect("JSON");
        let again = serde_json::to_string(&replay(case.rules().clone(), &read)).expect("JSON");
        assert_eq!(live, again, "{name}");
        replayed += 1;
    }
    assert!(replayed > 30, "{replayed} cases");
}
