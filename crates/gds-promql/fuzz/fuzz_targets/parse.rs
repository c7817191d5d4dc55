//! No text makes the parser panic, and what it prints it reads again as the same text.

#![no_main]

use gds_promql::parser::{parse, parse_selector};
use gds_promql::printer::pretty;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_selector(text);
    if let Ok(expr) = parse(text) {
        let line = expr.to_string();
        assert_eq!(parse(&line).map(|expr| expr.to_string()), Ok(line));
        assert_eq!(parse(&pretty(&expr)).map(|expr| expr.to_string()), Ok(expr.to_string()));
    }
});
