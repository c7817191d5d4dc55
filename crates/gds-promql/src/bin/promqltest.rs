//! `promqltest [--least COUNT] PATH...` runs scripts, or those of folders, and prints how many of their evaluations pass,
//! file by file, and what is wrong with the others. It fails where one of them does not pass, or with `--least` where
//! fewer pass than that.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gds_promql::promqltest::{engine, run};

fn main() -> ExitCode {
    match all(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("promqltest: {message}");
            ExitCode::from(2)
        }
    }
}

/// Whether enough pass.
fn all(mut arguments: Vec<String>) -> Result<bool, String> {
    let least = match arguments.iter().position(|argument| argument == "--least") {
        Some(at) if at + 1 < arguments.len() => {
            arguments.remove(at);
            let count = arguments.remove(at);
            Some(count.trim().parse::<usize>().map_err(|_| format!("expected a count after --least, got {count:?}"))?)
        }
        Some(_) => return Err("expected a count after --least".to_owned()),
        None => None,
    };
    let mut files = Vec::new();
    for argument in &arguments {
        files.extend(scripts(Path::new(argument))?);
    }
    if files.is_empty() {
        return Err("expected files or folders with scripts (*.test)".to_owned());
    }
    let engine = engine();
    let (mut passed, mut total) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let evaluations = run(&text, &engine);
        let failed = evaluations.iter().filter(|evaluation| evaluation.failure.is_some()).count();
        let good = evaluations.len() - failed;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("{good:5} of {:5}  {name}", evaluations.len());
        for evaluation in &evaluations {
            if let Some(failure) = &evaluation.failure {
                println!("    {name}:{}: {}\n        {failure}", evaluation.line, evaluation.command);
            }
        }
        passed += good;
        total += evaluations.len();
    }
    println!("{passed:5} of {total:5}");
    if let Some(least) = least {
        match passed.cmp(&least) {
            std::cmp::Ordering::Less => println!("fewer pass than the {least} that did"),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => println!("more pass than the {least} that did: record {passed}"),
        }
    }
    Ok(passed >= least.unwrap_or(total))
}

/// A file, or the scripts of a folder by name.
fn scripts(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    Ok(files)
}
