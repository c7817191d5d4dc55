//! The process that has the hub is killed, again and again, while all of them publish, read and commit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{Admin, Hub, Record, Start};
use gds_process::sync::Mutex;

use crate::served::rerun;
use crate::support::*;

/// Set in the processes of the test: the folder, and which of them it is.
const FOLDER: &str = "GDS_HUB_TEST_FOLDER";
const NUMBER: &str = "GDS_HUB_TEST_NUMBER";
const PARTITIONS: i32 = 3;
const PROCESSES: usize = 3;
const KILLS: usize = 30;
/// Keys of each process.
const KEYS: u64 = 4;

/// Does something only when started by the test below: publishes, reads and commits until it is killed.
#[test]
fn worker() {
    let (Some(path), Ok(number)) = (std::env::var_os(FOLDER), std::env::var(NUMBER)) else { return };
    let options = EmbeddedOptions { segment_bytes: 50_000, ..EmbeddedOptions::default() };
    let hub = Embedded::open(path.as_ref(), options).expect("opened");
    let out = || std::fs::File::options().append(true).open("/dev/stderr").expect("a pipe");
    let publisher = hub.publisher(Arc::new(Aloud(Mutex::new(out())))).expect("a publisher");
    std::thread::spawn(move || {
        let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
        let mut out = out();
        loop {
            for (topic, partition, offset, value) in poll(&mut *reader, 7, TIMEOUT) {
                let value = String::from_utf8(value).expect("text");
                let committed = reader.commit(&[position(&topic, partition, offset + 1)], true);
                // Another member may have it after the hub went to another process.
                let what = if committed.is_ok() { "committed" } else { "handled" };
                let line = format!("{what} {partition} {offset} {value}\n");
                out.write_all(line.as_bytes()).expect("told");
            }
        }
    });
    for id in 0.. {
        let (key, value) = (format!("{number}-{}", id % KEYS), format!("{number}-{id}"));
        let keyed = Record { key: Some(key.as_bytes()), ..record("orders", value.as_bytes()) };
        while let Err(error) = publisher.publish(id, &keyed) {
            assert!(error.retriable(), "{error}");
            publisher.handed_over();
        }
        if id % 20 == 0 {
            publisher.handed_over();
            std::thread::sleep(Duration::from_millis(1)); // else the test reads for minutes
        }
    }
}

struct Worker {
    number: usize,
    process: Child,
}

impl Worker {
    /// What it says is sent with its number; at its end, nothing is.
    fn start(number: usize, path: &Path, lines: &Sender<(usize, Option<String>)>) -> Self {
        let mut command = rerun("takeover::worker");
        command.env(FOLDER, path).env(NUMBER, number.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.stderr(Stdio::piped()).spawn().expect("started");
        let told = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let lines = lines.clone();
        std::thread::spawn(move || {
            told.map_while(Result::ok).for_each(|line| lines.send((number, Some(line))).expect("heard"));
            let _ = lines.send((number, None));
        });
        Self { number, process }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}

/// What the processes have said.
#[derive(Default)]
struct Said {
    /// By process and number of the record.
    sent: BTreeMap<(usize, u64), (i32, i64)>,
    committed: BTreeMap<i32, i64>,
    handled: BTreeSet<(i32, i64)>,
    ended: BTreeSet<usize>,
}

impl Said {
    fn hear(&mut self, lines: &Receiver<(usize, Option<String>)>) -> (usize, bool) {
        let (process, line) = lines.recv_timeout(TIMEOUT).expect("they go on");
        let Some(line) = line else {
            self.ended.insert(process);
            return (process, false);
        };
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap_or_else(|_| panic!("unexpected: {line}"));
        match words[0] {
            "sent" => {
                let place = (i32::try_from(number(2)).expect("few"), number(3));
                assert_eq!(self.sent.insert((process, number(1).unsigned_abs()), place), None, "told twice");
                return (process, true);
            }
            "committed" | "handled" => {
                let (partition, offset) = (i32::try_from(number(1)).expect("few"), number(2));
                self.handled.insert((partition, offset));
                if words[0] == "committed" {
                    let committed = self.committed.entry(partition).or_default();
                    *committed = (*committed).max(offset + 1);
                }
            }
            _ => panic!("unexpected: {line}"),
        }
        (process, false)
    }
}

#[test]
fn kill_9_of_who_has_the_hub_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let dir = folder();
    create(&Embedded::open(dir.path(), EmbeddedOptions::default()).expect("opened"), "orders", PARTITIONS);
    let (tell, lines) = channel();
    let mut said = Said::default();
    let mut workers: Vec<_> = (0..PROCESSES).map(|number| Worker::start(number, dir.path(), &tell)).collect();
    let mut random = 0x2545_f491_u64; // the same in each run
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Every one of them has got so many through since the last kill.
        let enough = 50 + random / (1 << 33) % 400;
        let mut since: BTreeMap<_, _> = workers.iter().map(|worker| (worker.number, 0)).collect();
        while since.values().any(|count| *count < enough) {
            let (process, sent) = said.hear(&lines);
            since.entry(process).and_modify(|count| *count += u64::from(sent));
        }
        let owner: u32 = std::fs::read_to_string(dir.path().join("lock")).expect("there").parse().expect("a number");
        let place = workers.iter().position(|worker| worker.process.id() == owner).expect("one of them");
        // Now and then one that has not got it.
        let place = if kill % 4 == 3 { (place + 1) % PROCESSES } else { place };
        drop(workers.remove(place));
        workers.push(Worker::start(PROCESSES + kill, dir.path(), &tell));
    }
    drop(workers);
    while said.ended.len() < PROCESSES + KILLS {
        said.hear(&lines);
    }

    let hub = Embedded::open(dir.path(), EmbeddedOptions::default()).expect("opened");
    let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
    let mut held = BTreeMap::new();
    let mut last = BTreeMap::new();
    for (_, partition, offset, value) in drain(&mut *reader) {
        let value = String::from_utf8(value).expect("text");
        let (process, id) = value.split_once('-').expect("both");
        let (process, id): (usize, u64) = (process.parse().expect("a number"), id.parse().expect("a number"));
        assert_eq!(held.insert((process, id), (partition, offset)), None, "{value} is there twice");
        let before = last.insert((process, id % KEYS), (partition, id));
        assert!(before.is_none_or(|before| before.0 == partition && before.1 + KEYS == id), "{value} after {before:?}");
    }
    for (record, place) in &said.sent {
        assert_eq!(held.get(record), Some(place), "{record:?}");
    }
    // Everything before a commit was handled by somebody who lived to say so, or was killed just then.
    let lags = Admin::lag(&hub, "g", TIMEOUT).expect("known");
    let mut unsaid = 0;
    for lag in &lags {
        let position = lag.position.expect("committed");
        assert!(position >= said.committed.get(&lag.partition).copied().unwrap_or(0), "{lag:?}");
        unsaid += (0..position).filter(|offset| !said.handled.contains(&(lag.partition, *offset))).count();
    }
    assert!(unsaid <= PROCESSES + KILLS, "{unsaid} were handled by nobody");
    let mut member = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    let mut firsts = BTreeMap::new();
    for (_, partition, offset, _) in drain(&mut *member) {
        firsts.entry(partition).or_insert(offset);
    }
    for lag in lags.iter().filter(|lag| lag.lag > 0) {
        assert_eq!(firsts.get(&lag.partition).copied(), lag.position, "it goes on where the group has committed");
    }
}
