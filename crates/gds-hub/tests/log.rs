//! The log in processes that end badly: killed while they write, and at the limit of what they may write.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gds_hub::Error;
use gds_hub::log::{Log, LogOptions};

/// Set in a process of this program that is to write: the folder.
const DIR: &str = "GDS_HUB_TEST_LOG";
const OPTIONS: LogOptions = LogOptions { segment_bytes: 100_000, max_bytes: None, verify: true };

fn start(test: &str, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]).env(DIR, dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started")
}

fn payload(offset: u64) -> Vec<u8> {
    let length = usize::try_from(offset * 7 % 900).expect("small");
    offset.to_le_bytes().into_iter().cycle().take(length).collect()
}

fn check(log: &Log) {
    let mut next = 0;
    let progress = log.reader(0).next_batch(u64::MAX, usize::MAX, |entry| {
        assert_eq!((entry.offset, entry.payload), (next, &*payload(next)));
        next += 1;
    });
    assert_eq!((progress.expect("read").damaged, next), (0, log.next_offset()));
}

/// Does something only when started by the test below: appends until it is killed, and tells what it has appended.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (mut log, _) = Log::open(dir.as_ref(), OPTIONS).expect("opened");
    let mut out = std::io::stderr();
    loop {
        let next = log.next_offset();
        let batch: Vec<_> = (next..=next + next % 5).map(payload).collect();
        let appended = log.append(batch.iter().map(Vec::as_slice)).expect("appended");
        out.write_all(format!("{}\n", appended.end).as_bytes()).expect("told");
    }
}

#[test]
fn what_was_appended_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a folder");
    for life in 1..=10 {
        let mut victim = start("victim", dir.path());
        let mut told = BufReader::new(victim.stderr.take().expect("a pipe")).lines();
        let mut last = told.by_ref().take(100 * life).last().expect("it goes on").expect("text");
        victim.kill().expect("killed");
        last = told.map_while(Result::ok).last().unwrap_or(last);
        victim.wait().expect("gone");
        let (log, recovered) = Log::open(dir.path(), OPTIONS).expect("opened");
        assert!(recovered.entries >= last.parse().expect("a number"), "{recovered:?}, told {last}");
        assert_eq!(recovered.lost, 0);
        check(&log);
    }
}

/// Does something only when started by the test below: meets the limit, which is of a whole process.
#[test]
fn limited() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let (mut log, _) = Log::open(dir.as_ref(), LogOptions::default()).expect("opened");
    limit(10_000);
    let error = loop {
        let next = log.next_offset();
        match log.append([&*payload(next)]) {
            Ok(appended) => assert_eq!(appended, next..next + 1),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::Storage(_)) && error.retriable() && error.message().contains("size of files"),
        "{error}"
    );
    check(&log);
    limit(20_000);
    let next = log.next_offset();
    log.append([&*payload(next)]).expect("there is room again");
    check(&log);
    eprintln!("room again after {next}");
}

#[allow(unsafe_code)]
fn limit(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: 1 << 40 };
    // SAFETY: both calls take plain values; the struct lives for the call. The signal, which would end the process
    // instead of failing the write, is ignored as Python does.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
}

#[test]
fn a_file_that_may_not_grow_is_an_error_until_it_may() {
    let dir = tempfile::tempdir().expect("a folder");
    let limited = start("limited", dir.path()).wait_with_output().expect("run");
    let said = String::from_utf8_lossy(&limited.stderr);
    assert!(limited.status.success() && said.contains("room again after"), "{said}");
    let (log, recovered) = Log::open(dir.path(), OPTIONS).expect("opened");
    assert_eq!((recovered.torn_bytes, recovered.lost), (0, 0));
    check(&log);
}
