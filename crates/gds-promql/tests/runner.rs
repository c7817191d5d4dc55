//! The runner of scripts says what is wrong: an answer that is not the expected one never passes.

use std::process::Command;

use gds_promql::promqltest::{engine, run};

const LOAD: &str = "load 1m\n  x{a=\"1\"} 1 2\n  x{a=\"2\"} 3 4\n  h {{schema:0 sum:1 count:2 buckets:[2]}}\n\n";

/// What is wrong with the only evaluation of a script.
fn failure(script: &str) -> String {
    let evaluations = run(&format!("{LOAD}{script}"), &engine());
    assert_eq!(evaluations.len(), 1, "{script}: {evaluations:?}");
    evaluations[0].failure.clone().unwrap_or_else(|| panic!("{script}: passes"))
}

#[test]
fn what_is_not_as_expected_fails() {
    for (script, expected) in [
        ("eval instant at 0 x\n  x{a=\"1\"} 1", "unexpected {__name__=\"x\", a=\"2\"} 3"),
        ("eval instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 1.00001", "expected 1.00001, got 1"),
        (
            "eval instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 1\n  x{a=\"3\"} 1",
            "{__name__=\"x\", a=\"3\"}, which is not there",
        ),
        ("eval instant at 0 h\n  h 1", "expected 1, got {{schema:0 count:2 sum:1"),
        (
            "eval instant at 0 h\n  h {{schema:0 sum:1 count:2 buckets:[1 1]}}",
            "got {{schema:0 count:2 sum:1 buckets:[0=2]",
        ),
        ("eval instant at 0 h\n  h {{schema:0 sum:1 count:2 buckets:[2] n_buckets:[1]}}", "got {{schema:0"),
        ("eval instant at 0 h\n  h {{schema:1 sum:1 count:2 buckets:[2]}}", "got {{schema:0"),
        (
            "eval instant at 0 h\n  h {{sum:1 count:2 buckets:[2] counter_reset_hint:gauge}}",
            "counter_reset_hint:Unknown",
        ),
        ("eval instant at 0 1\n  2", "expected scalar 2, got 1"),
        ("eval instant at 0 x{a=\"1\"}\n  1", "expected scalar 1, got a vector of 1"),
        ("eval instant at 0 1\n  {} 1", "expected no scalar, got 1"),
        ("eval instant at 0 'a'\n  expect string \"b\"", "expected string \"b\", got \"a\""),
        (
            "eval instant at 0 sort(x)\n  expect ordered\n  x{a=\"2\"} 3\n  x{a=\"1\"} 1",
            "expected {__name__=\"x\", a=\"1\"} at position 2, got it at 1",
        ),
        ("eval instant at 0 quantile(2, x)\n  expect no_warn\n  {} +Inf", "expected no warning, got [\"PromQL warning"),
        (
            "eval instant at 0 quantile(2, x)\n  expect warn msg: no\n  {} +Inf",
            "expected the warning \"no\", got [\"PromQL",
        ),
        ("eval_warn instant at 0 x{a=\"1\"}\n  x{a=\"1\"} 1", "expected the warning any, got []"),
        (
            "eval instant at 0 x{a=\"1\"}\n  expect info regex: a.b\n  x{a=\"1\"} 1",
            "expected the info one that matches \"a.b\"",
        ),
        (
            "eval instant at 1m rate(x{a=\"1\"}[2m])\n  expect no_info\n  {a=\"1\"} 0.0166666",
            "expected no info, got [\"PromQL info",
        ),
        ("eval instant at 0 x\n  expect fail", "expected an error, got none"),
        (
            "eval_fail instant at 0 x + on () x\n  expected_fail_message no",
            "expected the error \"no\", got: found duplicate",
        ),
        ("eval instant at 0 sum(x", "failed: 1:6: parse error: unclosed left parenthesis"),
        ("eval range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 3", "at 60000 ms: expected 3, got 2"),
        ("eval range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1", "expected 1 points, got 2 points"),
        ("eval range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} _ 2", "expected 1 points, got 2 points"),
        ("eval range from 0 to 1m step 1m x{a=\"1\"}\n  x{a=\"1\"} 1 2 3", "more values are expected"),
        (
            "eval instant at 1m x{a=\"1\"}[2m]\n  expect range vector from 0 to 1m step 1m\n  x{a=\"1\"} 1 3",
            "at 60000 ms: expected 3, got 2",
        ),
        ("load 1m\n  y 1 huh", "column 5: unexpected \"huh\""),
        ("load_with_nhcb 1m\n  c_bucket{le=\"1\"} 2\n  c_bucket{le=\"+Inf\"} 1", "count is not cumulative"),
        ("load_with_nhcb 1m\n  c_bucket{le=\"+Inf\"} 1\n  c_count 2", "count mismatch"),
        ("huh", "invalid command \"huh\""),
    ] {
        let found = failure(script);
        assert!(found.contains(expected), "{script}: {found}");
    }
}

#[test]
fn the_binary_fails_where_fewer_pass_than_have_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.test"), "eval instant at 0 1\n  1\n\neval instant at 0 2\n  2\n").unwrap();
    std::fs::write(folder.path().join("bad.test"), "eval instant at 0 1\n  2\n").unwrap();
    let answer = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promqltest"));
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, out, _) = answer(&["."]);
    assert_eq!(code, Some(1));
    assert!(out.contains("bad:1: eval instant at 0 1\n        expected scalar 2, got 1"), "{out}");
    assert!(out.ends_with("    2 of     3\n"), "{out}");
    assert_eq!(answer(&["good.test"]).0, Some(0));
    assert_eq!(answer(&["--least", "2", "."]).0, Some(0));
    let (code, out, _) = answer(&["--least", "3", "."]);
    assert_eq!(code, Some(1));
    assert!(out.ends_with("fewer pass than the 3 that did\n"), "{out}");
    assert!(answer(&["--least", "1", "."]).1.ends_with("more pass than the 1 that did: record 2\n"));
    let (code, _, error) = answer(&["--least", "many"]);
    assert_eq!((code, error.as_str()), (Some(2), "promqltest: expected a count after --least, got \"many\"\n"));
    assert_eq!(answer(&[]).0, Some(2));
    assert_eq!(answer(&["missing.test"]).0, Some(2));
}
