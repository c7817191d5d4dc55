//! SIGKILL at any point: what was acknowledged before is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use gds_store::{Options, Store};

use crate::support::*;

/// Set in the process that is to be killed: the folder of its store, and where it begins.
const VICTIM: &str = "GDS_STORE_TEST_VICTIM";
const BEGIN: &str = "GDS_STORE_TEST_BEGIN";
const SERIES: u32 = 8;

fn small() -> Options {
    Options { flush_bytes: 30_000, merge_at: 3, ..options() }
}

/// Does something only when started by the test below: appends until it is killed, and says what was accepted.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let begin: i64 = std::env::var(BEGIN).expect("a beginning").parse().expect("a number");
    let store = Arc::new(Store::open(&path, small()).expect("opened"));
    let other = Arc::clone(&store);
    std::thread::spawn(move || {
        loop {
            other.maintain().expect("maintained");
            std::thread::yield_now();
        }
    });
    let all: Vec<_> = (0..SERIES).map(|instance| series("up", instance)).collect();
    let mut out = std::fs::File::options().append(true).open("/dev/stderr").expect("a pipe");
    for at in begin.. {
        let rows: Vec<_> = all.iter().map(|labels| number(labels, NOON + at, at as f64)).collect();
        assert_eq!(store.append(&rows).expect("appended").accepted, u64::from(SERIES));
        out.write_all(format!("{at}\n").as_bytes()).expect("told");
    }
}

#[test]
fn kill_9_loses_no_acknowledged_sample() {
    let kills: i64 = std::env::var("GDS_STORE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir().unwrap();
    let mut begin = 0;
    for kill in 0..kills {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["killed::victim", "--exact", "--nocapture"]).env(VICTIM, folder.path());
        command.env(BEGIN, begin.to_string());
        let mut victim =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
        let mut told = BufReader::new(victim.stderr.take().expect("a pipe")).lines();
        // Killed after so many lines, while it goes on; what it said until it was dead counts too.
        let mut last = begin - 1;
        let parse = |line: String| line.parse::<i64>().unwrap_or_else(|_| panic!("kill {kill}: {line}"));
        for _ in 0..=kill * 37 % 101 {
            last = parse(told.next().expect("it goes on").expect("text"));
        }
        victim.kill().expect("killed");
        last = told.map_while(Result::ok).map(parse).last().unwrap_or(last);
        victim.wait().expect("gone");

        let store = Store::open(folder.path(), small()).expect("opened");
        for instance in 0..SERIES {
            let held = of(&store, &series("up", instance));
            let expected: Vec<_> = (0..=last).map(|at| (NOON + at, at as f64)).collect();
            assert!(held.starts_with(&expected), "kill {kill}: {} held, {} acknowledged", held.len(), expected.len());
            // What was being written when it was killed may be there.
            assert!(held.len() <= expected.len() + 1, "kill {kill}");
        }
        let damage: Vec<_> = store.verify().expect("read").into_iter().collect();
        assert!(damage.iter().all(|one| one.kind == gds_store::FindingKind::TornLog), "kill {kill}: {damage:?}");
        begin = last + 1;
    }
}
