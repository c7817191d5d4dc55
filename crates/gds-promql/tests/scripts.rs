//! The project's own scripts: what each function, aggregation and operator answers.

use std::collections::BTreeSet;
use std::path::Path;

use gds_promql::ast::{AggregateOp, Expr, ExprKind};
use gds_promql::functions::FUNCTIONS;
use gds_promql::parser::parse;
use gds_promql::promqltest::{Evaluation, engine, run};

/// The evaluations of all scripts, and the name of the script of each.
fn evaluations() -> Vec<(String, Evaluation)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = std::fs::read_to_string(&path).unwrap();
        found.extend(run(&script, &engine()).into_iter().map(|evaluation| (name.clone(), evaluation)));
    }
    found
}

#[test]
fn every_evaluation_answers_as_its_script_says() {
    let evaluations = evaluations();
    let failures: Vec<String> = evaluations
        .iter()
        .filter_map(|(name, evaluation)| {
            let failure = evaluation.failure.as_ref()?;
            Some(format!("{name}:{}: {}\n    {failure}", evaluation.line, evaluation.command))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), evaluations.len(), failures.join("\n"));
}

#[test]
fn every_function_aggregation_and_operator_is_asked_for() {
    let mut asked = BTreeSet::new();
    for (_, evaluation) in evaluations() {
        let words: Vec<&str> = evaluation.command.split_whitespace().collect();
        let before = if words[1] == "instant" { 4 } else { 8 };
        collect(&parse(&words[before..].join(" ")).unwrap(), &mut asked);
    }
    let functions = FUNCTIONS.iter().map(|function| function.name);
    let aggregations = AggregateOp::ALL.into_iter().map(AggregateOp::text);
    let operators =
        ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/", "and", "or", "unless"];
    let missing: Vec<&str> =
        functions.chain(aggregations).chain(operators).filter(|name| !asked.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

fn collect(expr: &Expr, asked: &mut BTreeSet<&'static str>) {
    match &expr.kind {
        ExprKind::Binary(binary) => asked.insert(binary.op.text()),
        ExprKind::Aggregate(aggregate) => asked.insert(aggregate.op.text()),
        ExprKind::Call(call) => asked.insert(call.function.name),
        _ => true,
    };
    expr.children().for_each(|child| collect(child, asked));
}
