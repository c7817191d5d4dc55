//! The corpora, and what holds for any text.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// More of a secret than this must not be left.
const LONGEST_LEFT: usize = 4;

fn plain() -> &'static Redactor {
    static PLAIN: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(&[]).expect("no patterns"));
    &PLAIN
}

/// The lines of a corpus with their families, as `tests/kafka/corpus/README.md` describes them.
fn corpus(name: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let family = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let found = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
        lines.extend(found.map(|line| (family.clone(), line.replace('␤', "\n").replace('¦', ""))));
    }
    lines
}

fn secrets() -> &'static [(String, String)] {
    static LINES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| corpus("secrets"));
    &LINES
}

fn innocent() -> &'static [(String, String)] {
    static LINES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| corpus("innocent"));
    &LINES
}

/// A line without its marks, and what stood between them.
fn unmarked(line: &str) -> (String, Vec<String>) {
    let mut secrets = Vec::new();
    let mut rest = line;
    while let Some((_, from)) = rest.split_once('«') {
        let (secret, after) = from.split_once('»').expect("a closing mark");
        secrets.push(secret.to_owned());
        rest = after;
    }
    assert!(!secrets.is_empty(), "no secret is marked in {line:?}");
    (line.replace(['«', '»'], ""), secrets)
}

/// A piece of the secret that is left.
fn left(secret: &str, clean: &str) -> Option<String> {
    let letters: Vec<char> = secret.chars().collect();
    let pieces = letters.windows(LONGEST_LEFT + 1).map(|piece| piece.iter().collect::<String>());
    // What the mark itself says, or blank lines of a key, are no pieces.
    pieces.into_iter().find(|piece| clean.contains(piece.as_str()) && !piece.trim().is_empty())
}

#[test]
fn of_every_secret_nothing_is_left() {
    let redactor = plain();
    let mut failures = Vec::new();
    let mut count = 0;
    for (family, line) in secrets() {
        let (line, secrets) = unmarked(line);
        let clean = redactor.redact(&line);
        count += 1;
        for secret in &secrets {
            if let Some(piece) = left(secret, &clean) {
                failures.push(format!("{family}: {piece:?} in {clean}"));
            }
        }
        if !clean.contains(MARK) {
            failures.push(format!("{family}: unchanged: {clean}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(count >= 2_200, "{count}");
}

#[test]
fn of_every_line_with_a_secret_the_rest_is_left() {
    let redactor = plain();
    let mut failures = Vec::new();
    for (family, line) in secrets() {
        let (text, secrets) = unmarked(line);
        let clean = redactor.redact(&text);
        let mut expected = line.replace(['«', '»'], "\u{1}");
        for secret in &secrets {
            expected = expected.replacen(&format!("\u{1}{secret}\u{1}"), MARK, 1);
        }
        if clean != expected {
            failures.push(format!("{family}: {clean}\n    {expected}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn innocent_text_stays_and_is_borrowed() {
    let redactor = plain();
    let changed = innocent().iter().filter(|(_, line)| matches!(redactor.redact(line), Cow::Owned(_)));
    let changed: Vec<_> =
        changed.map(|(family, line)| format!("{family}: {line}\n    {}", redactor.redact(line))).collect();
    assert!(changed.is_empty(), "\n{}", changed.join("\n"));
    assert!(innocent().len() >= 2_250);
}

#[test]
fn a_corpus_as_one_text_is_as_clean_as_its_lines() {
    let redactor = plain();
    // Cut-off keys take the rest of a text with them, which is what they should do.
    let lines: Vec<_> = secrets()
        .iter()
        .map(|(_, line)| unmarked(line))
        .filter(|(line, _)| !line.contains("PRIVATE KEY") && !line.contains('\n'))
        .collect();
    let text = lines.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n");
    let each: Vec<_> = lines.iter().map(|(line, _)| redactor.redact(line).into_owned()).collect();
    assert_eq!(redactor.redact(&text), each.join("\n"));
}

#[test]
fn a_pattern_without_groups_takes_all_one_with_groups_the_groups() {
    let redactor = Redactor::new(&[r"EMP\d{4}".to_owned(), r"card (\d+)-(\d+)|void \w+".to_owned()]).unwrap();
    assert_eq!(redactor.redact("EMP1234 has card 12-34"), "[REDACTED] has card [REDACTED]-[REDACTED]");
    assert_eq!(redactor.redact("void cheque"), "[REDACTED]");
    assert!(matches!(redactor.redact("EMP12"), Cow::Borrowed(_)));
}

#[test]
fn what_several_rules_find_is_taken_out_once() {
    let redactor = Redactor::new(&["hunter2@db".to_owned(), "[a-z]+2".to_owned(), "x*".to_owned()]).unwrap();
    assert_eq!(redactor.redact("postgres://u:hunter2@db/x"), "postgres://u:[REDACTED]/[REDACTED]");
    assert_eq!(Redactor::new(&["RED".to_owned()]).unwrap().redact("[REDACTED] RED"), "[REDACTED] [REDACTED]");
}

#[test]
fn a_bad_pattern_is_named_by_its_number_and_not_by_its_text() {
    let error = Redactor::new(&["fine".to_owned(), "hunter2(".to_owned()]).unwrap_err().to_string();
    assert!(error.starts_with("redact pattern 2 of 2: unclosed group"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = Redactor::new(&[r"(?:\w{1000}){1000}".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("1048576 bytes once compiled"), "{error}");
    assert!(Redactor::new(&[r"(?=look)".to_owned()]).unwrap_err().to_string().contains("look-around"));
}

#[test]
fn patterns_are_not_in_its_debug_text() {
    let text = format!("{:?}", Redactor::new(&["hunter2".to_owned()]).unwrap());
    assert!(!text.contains("hunter2") && text.contains('1'), "{text}");
}

/// Each of them makes a rule look far ahead or back again and again, if it is one that does.
const WORST: &[&str] = &[
    "://",
    "://a:b",
    "://a:b/c",
    "password=",
    "password=\"",
    "token: {",
    "eyJ",
    "-eyJ",
    "xoxb-",
    "-----BEGIN PRIVATE KEY",
    "-----END PRIVATE KEY-----",
    "AKIA",
    "token",
    "secret ",
    "Cookie: a=b; ",
    "Authorization: Digest a=b, ",
    "bearer ",
    "\\",
    "[[[[",
    "\"token\":[",
    "hvs.",
    "s.",
    "a",
    "'password': '",
    "AKIAIOSFODNN7EXAMPLE ",
    "%3D",
    "token=<a:",
    "token=[REDACTED]",
    "\"token\":{[REDACTED]",
    "token={(",
    "\neyJ",
    "--token ",
    "mysql -p",
    "mysql -u a ",
    "curl -u a:b ",
    "echo ",
    "identified by '",
    "identified with ",
    "(password,",
    "insert into t (password) values ('a'),",
    "\"name\":\"password\",",
    "\"value\":\"password\",",
    "<name>password</name>",
    "password: |\n ",
    "password:|",
    "a:b@",
    "db:5432:",
    "*:*:",
    "MIIEvQIBADANBgkq",
    "LS0tLS1CRUdJTi",
    "setPassword(",
    "setPassword('a',",
    "connect('a',",
    "<password a=",
    "<password>",
    "PWD={",
    "PWD={}}",
    "%22password%22%3A%22",
    "&quot;password&quot;:&quot;",
    "| password | ",
    "SET PASSWORD FOR ",
    "passphrase: a ",
    "password ''",
    "password='''",
    "$2b$",
    "ghp_",
    ":AA1234567890",
    "<<<",
    "chpasswd <<<",
    "chpasswd <<<'a:",
    "chpasswd <<E\na:b\n",
    "chpasswd<<",
    "conn a/b",
    "connect a/b ",
    "connect a/\"b\"@",
    ":thin:a/b@",
    "net use \\\\a\\b ",
    "net user ",
    "identified via ",
    "via a using 'b' ",
    "identified by 'a' replace ",
    "password 'a' replace ",
    "comment on password is ",
    "attach a as b key ",
    ".GABCDE.",
    "<property name=\"password\"><value>",
    "<property name=\"password\"> ",
    "<password><value>",
    "<password>\n",
    "<password><![CDATA[",
    "password:\n ",
    "password: &a ",
    "password: !!str ",
    "password: # ",
    "\"password\":\n \"",
    "password==",
    "password == ",
    "\"$password\" = ",
    "password.equals(",
    "authorization: bearer",
    "token = a(1",
    "MTgwOTUxNDg2OTk5NDI0OTk5.GABCDE.",
    "patABCDEFGHIJKLMN.",
];

#[test]
fn the_worst_texts_take_no_longer_for_being_long() {
    let redactor = Redactor::new(&[r"(a+)+$".to_owned()]).unwrap();
    for piece in WORST {
        // A quadratic rule would be at it for hours.
        let text = piece.repeat(300_000 / piece.len());
        let clean = redactor.redact(&text);
        assert!(clean.len() <= text.len() * 4, "{piece}");
    }
}

/// Pieces of what the rules look for, in any order. Brackets come in pairs: where one is left open, it depends on what
/// was taken out behind it whether a structure ends or this is a sentence.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("password".to_owned()),
        Just("=".to_owned()),
        Just(": ".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("\\".to_owned()),
        Just("://".to_owned()),
        Just("@".to_owned()),
        Just(":".to_owned()),
        Just("Bearer ".to_owned()),
        Just("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned()),
        Just("hvs.CAESIJlWh2VGkPZ0YqkF0".to_owned()),
        Just("s.9xKd3LmQ7vTzRw2YbHcNpJ4f".to_owned()),
        Just("AKIAIOSFODNN7EXAMPLE".to_owned()),
        Just("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
        Just("token".to_owned()),
        Just("Authorization: ".to_owned()),
        Just("Digest ".to_owned()),
        Just("Cookie: ".to_owned()),
        Just("; a=".to_owned()),
        Just(", b=".to_owned()),
        Just("{\"a\": 1}".to_owned()),
        Just("(b, c)".to_owned()),
        Just("[7]".to_owned()),
        Just("<secret>".to_owned()),
        Just("--".to_owned()),
        Just("%3D".to_owned()),
        Just("%26".to_owned()),
        Just(MARK.to_owned()),
        Just("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ9.".to_owned()),
        Just(" is ".to_owned()),
        Just("\n".to_owned()),
        Just("sig=".to_owned()),
        Just("?".to_owned()),
        Just("ghp_16C7e42F292c6912E7710c83".to_owned()),
        "[a-zA-Z0-9]{1,24}",
        "\\PC{0,4}",
        " {1,3}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        // The same texts in each run: a text of thousands that only a second look cleans is a matter for whoever changes
        // the rules, not for whoever happens to run the tests.
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn clean_text_is_clean(text in nasty()) {
        let redactor = plain();
        let once = redactor.redact(&text).into_owned();
        prop_assert_eq!(redactor.redact(&once), once.as_str());
    }

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        static EXTRA: LazyLock<Redactor> =
            LazyLock::new(|| Redactor::new(&[r"\w+(\d)?".to_owned(), "[^a]".to_owned(), "b*".to_owned()]).unwrap());
        let _ = EXTRA.redact(&text);
        let _ = plain().redact(&text);
        let _ = is_secret_key(&text);
    }

    #[test]
    fn any_pieces_are_taken(text in "(password|token|secret|=|: |\"|'|\\\\|://|@|[\\[\\](){}<>]|Bearer |é|\n|hvs\\.|AKIA|%3D|[a-z0-9]{1,9}){0,24}") {
        let once = plain().redact(&text).into_owned();
        let _ = plain().redact(&once);
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
        let text = format!("{before}\nX-Vault-Token: hvs.CAESIJlWh2VGkPZ0YqkF0 {after}");
        let clean = plain().redact(&text).into_owned();
        prop_assert!(!clean.contains("JlWh2VGkPZ0YqkF0"), "{}", clean);
    }
}
