//! One process has the folder, for as long as one of its clients is there.

use gds_hub::{Error, Start};
use gds_process::fork::testing::Child;

use crate::support::*;

#[test]
fn clients_of_a_process_share_one_hub_and_the_last_one_lets_go() {
    let dir = folder();
    let one = open(dir.path());
    std::fs::create_dir(dir.path().join("detour")).expect("made");
    let two = open(&dir.path().join("detour/.."));
    let mut reader = subscribe(&two, &["orders"], None, Start::Latest);
    publish(&one, &record("orders", b"v"));
    assert_eq!(values(&drain(&mut *reader)), ["v"]);
    drop((one, two));
    let three = open(dir.path());
    publish(&three, &record("orders", b"w"));
    assert_eq!(values(&drain(&mut *reader)), ["w"], "a reader keeps the hub as a client does");
}

#[test]
fn threads_that_let_go_and_open_again_never_meet_a_locked_folder() {
    let dir = folder();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    publish(&open(dir.path()), &record("orders", b"v"));
                }
            });
        }
    });
    assert_eq!(publish(&open(dir.path()), &record("orders", b"v")), (0, 200));
}

#[test]
fn a_forked_child_is_a_client_of_its_own_and_does_not_keep_the_folder() {
    let dir = folder();
    let hub = open(dir.path());
    let (publisher, told) = publisher(&hub);
    publisher.publish(0, &record("orders", b"v")).expect("taken");
    let reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
    let refused = |error: gds_hub::Error| matches!(error, Error::Closed(_)) && error.fatal();
    // It allocates, which only a child of a process with one thread may do; glibc's malloc works in any child.
    let child = Child::fork_running(|_| {
        let published = publisher.publish(1, &record("orders", b"w")).is_err_and(refused);
        let assigned = reader.assignment().is_err_and(refused);
        let asked = gds_hub::Admin::topics(&hub, None, TIMEOUT).is_err_and(refused);
        let anew = open(dir.path());
        published && assigned && asked && publish(&anew, &record("orders", b"of the child")) == (0, 1)
    });
    assert!(child.answer);
    assert_eq!(told.0.lock().len(), 1);
    publisher.publish(2, &record("orders", b"x")).expect("the parent's is as it was");
    drop((hub, publisher, reader));
    assert_eq!(publish(&open(dir.path()), &record("orders", b"y")), (0, 3));
    drop(child);
}
