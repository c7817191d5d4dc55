//! One process has the folder and serves the others: they see what its own clients see.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{Admin, Error, Hub, Start};
use gds_process::sync::Mutex;

use crate::support::*;

/// Set where each hub is to be one that another process has.
const SERVED: &str = "GDS_HUB_TEST_SERVED";
/// Set in a process of this program that is to have the folder it names.
const HOLD: &str = "GDS_HUB_TEST_HOLD";

/// A process that has a folder until this is dropped, by a kill -9.
struct Holder {
    process: Child,
    _stdin: ChildStdin,
}

impl Holder {
    fn new(path: &Path) -> Self {
        let mut command = rerun("served::child_holds");
        command.env(HOLD, path).env_remove(SERVED).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("started");
        let mut told = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        assert_eq!(told.next().expect("it goes on").expect("text"), "held");
        Self { _stdin: process.stdin.take().expect("a pipe"), process }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}

static HOLDERS: Mutex<BTreeMap<PathBuf, Holder>> = Mutex::new(BTreeMap::new());

/// This program once more, for one of its tests.
pub(crate) fn rerun(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]);
    command
}

pub(crate) fn is_asked() -> bool {
    std::env::var_os(SERVED).is_some()
}

/// Has another process have the folder. The one that had it before is killed.
pub(crate) fn hold_if_asked(path: &Path) {
    if is_asked() {
        kill(path);
        let holder = Holder::new(path);
        HOLDERS.lock().insert(path.to_owned(), holder);
    }
}

pub(crate) fn kill(path: &Path) {
    drop(HOLDERS.lock().remove(path));
}

/// Does something only when started by a holder.
#[test]
fn child_holds() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let _hub = Embedded::open(path.as_ref(), EmbeddedOptions::default()).expect("opened");
    eprintln!("held");
    let _ = std::io::stdin().read_line(&mut String::new()); // ends with the other side
}

#[test]
fn the_same_holds_for_the_clients_of_other_processes() {
    if is_asked() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let done = command
        .args(["clients::", "compaction::", "groups::", "topics::", "model::"])
        .env(SERVED, "1")
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("members_that_come_and_go"), "{said}");
}

#[test]
fn processes_read_what_each_other_publish() {
    let dir = folder();
    let deep = dir.path().join("deeper".repeat(20)).join("than an address has room for");
    let holder = Holder::new(&deep);
    let hub = open(&deep);
    assert_eq!(hub.recovered(), gds_hub::log::Recovered::default());
    hub.check(TIMEOUT).expect("served");
    hub.sync().expect("synced");
    let mode = std::fs::metadata(deep.join("socket")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (publisher, told) = publisher(&hub);
    for number in 0..3 {
        publisher.publish(number, &record("orders", &[b'a' + u8::try_from(number).expect("few")])).expect("taken");
    }
    publisher.handed_over();
    assert!(publisher.statistics()["topics"] >= 1.0);
    let places: Vec<_> = told.0.lock().iter().map(|(id, place)| (*id, place.clone().expect("delivered"))).collect();
    assert_eq!(places, [(0, (0, 0)), (1, (0, 1)), (2, (0, 2))]);
    let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
    assert_eq!(values(&drain(&mut *reader)), ["a", "b", "c"]);
    // When the holder ends, this process has the hub: for clients from before and for those made now.
    drop(holder);
    let after = open(&deep);
    assert_eq!(publish(&after, &record("orders", b"d")), (0, 3));
    publisher.publish(3, &record("orders", b"e")).expect("taken");
    publisher.handed_over();
    assert_eq!(told.0.lock().last().expect("told").1, Ok((0, 4)));
    assert_eq!(values(&drain(&mut *reader)), ["d", "e"], "it goes on where it was");
    assert!(reader.changes().iter().all(|change| matches!(change, gds_hub::Change::Assigned(_))));
    assert_eq!(Admin::topics(&hub, None, TIMEOUT).expect("known")[0].partitions[0].end, 5);
}

#[test]
fn a_group_that_began_with_the_latest_misses_nothing_when_the_hub_goes_to_another_process() {
    let dir = folder();
    let holder = Holder::new(dir.path());
    let hub = open(dir.path());
    publish(&hub, &record("orders", b"before"));
    let mut member = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
    publish(&hub, &record("orders", b"v"));
    member.changes();
    drop(holder);
    publish(&hub, &record("orders", b"w"));
    assert_eq!(values(&drain(&mut *member)), ["v", "w"]);
    let place = vec![(std::sync::Arc::from("orders"), 0)];
    let anew = [gds_hub::Change::Revoked(place.clone()), gds_hub::Change::Assigned(place)];
    assert_eq!(member.changes(), anew, "what it has not committed is to come again");
}

#[test]
fn what_was_assigned_and_paused_by_hand_stays_so_when_the_hub_goes_to_another_process() {
    let dir = folder();
    let holder = Holder::new(dir.path());
    let hub = open(dir.path());
    create(&hub, "orders", 3);
    let mut reader = subscribe(&hub, &[], None, Start::Earliest);
    let places: Vec<gds_hub::TopicPartition> = (0..2).map(|number| (std::sync::Arc::from("orders"), number)).collect();
    reader.assign(&places).expect("assigned");
    reader.pause(&places[1..]).expect("paused");
    let publish_to_each = |value: &[u8]| {
        for partition in 0..3 {
            publish(&hub, &gds_hub::Record { partition: Some(partition), ..record("orders", value) });
        }
    };
    publish_to_each(b"a");
    assert_eq!(values(&drain(&mut *reader)), ["a"]);
    drop(holder);
    publish_to_each(b"b");
    assert_eq!(values(&drain(&mut *reader)), ["b"], "it goes on where it was");
    reader.resume(&places[1..]).expect("resumed");
    assert_eq!(values(&drain(&mut *reader)), ["a", "b"]);
    assert_eq!(reader.changes(), [gds_hub::Change::Assigned(places)], "it is not told of what does not change");
}

#[test]
fn a_member_in_a_process_that_is_killed_leaves_its_share() {
    let dir = folder();
    let hub = open(dir.path());
    create(&hub, "orders", 2);
    for partition in [0, 1] {
        publish(&hub, &gds_hub::Record { partition: Some(partition), ..record("orders", b"v") });
    }
    let mut here = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    let mut process = rerun("served::child_reads").env(HOLD, dir.path()).stderr(Stdio::piped()).spawn().expect("run");
    let mut told = BufReader::new(process.stderr.take().expect("a pipe")).lines();
    assert_eq!(told.next().expect("it goes on").expect("text"), "joined");
    assert_eq!(drain(&mut *here).len(), 1, "one partition goes to the other");
    assert_eq!(told.next().expect("it goes on").expect("text"), "read 1");
    process.kill().expect("killed");
    process.wait().expect("gone");
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = poll(&mut *here, 10, TIMEOUT);
    }
    assert_eq!(seen.len(), 1, "what the other had not committed comes again");
}

/// Does something only when started by the test above.
#[test]
fn child_reads() {
    let Some(path) = std::env::var_os(HOLD) else { return };
    let hub = open(path.as_ref());
    let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    eprintln!("joined");
    loop {
        let seen = poll(&mut *reader, 10, TIMEOUT);
        eprintln!("read {}", seen.len());
    }
}

#[test]
fn where_there_is_no_room_for_a_socket_others_are_told_who_has_the_folder() {
    let dir = folder();
    // Not to be taken away, as it is not empty.
    std::fs::create_dir_all(dir.path().join("socket/full")).expect("made");
    let holder = Holder::new(dir.path());
    let error = Embedded::open(dir.path(), EmbeddedOptions::default()).expect_err("refused");
    assert!(matches!(error, Error::Connection(_)) && error.retriable(), "{error}");
    let says = format!("{} belongs to process {},", dir.path().display(), holder.process.id());
    assert!(error.message().contains(&says), "{error}");
    drop(holder);
    publish(&open(dir.path()), &record("orders", b"v"));
}
