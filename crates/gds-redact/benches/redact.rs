//! What a line of log costs: clean, with words that look like more, and with secrets.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gds_redact::{Redactor, is_secret_key};

/// 100 bytes of what programs say most.
const CLEAN: &str =
    "GET /api/v1/orders/4711?page=2 from 10.1.2.3 took 12.5 ms, status 200, 5120 bytes, worker 7 of db-01 ok.";
const WORDS: &str =
    "token bucket of class files.Each is empty: password reset page for key=orders-17, basic auth off, bearer missing";
const SECRET: &str =
    "could not connect to postgresql://app:hunter2@db-1/orders with token=hvs.CAESIJlWh2VGkPZ0YqkF0tPzq8w9nQ, retrying";
const PIECE: &str = "password=\"://a:b/c\" -eyJ {token: [";

fn redact(criterion: &mut Criterion) {
    let plain = Redactor::new(&[]).expect("no patterns");
    let extra = Redactor::new(&[r"EMP\d{6}".to_owned(), r"card (\d{16})".to_owned()]).expect("two patterns");
    assert!(matches!(plain.redact(CLEAN), Cow::Borrowed(_)));
    assert!(matches!(plain.redact(WORDS), Cow::Borrowed(_)));
    assert_eq!(
        plain.redact(SECRET),
        "could not connect to postgresql://app:[REDACTED]@db-1/orders with token=[REDACTED], retrying"
    );
    for (name, redactor, text) in [
        ("clean line", &plain, CLEAN),
        ("clean line, two more patterns", &extra, CLEAN),
        ("line of innocent words", &plain, WORDS),
        ("line with two secrets", &plain, SECRET),
    ] {
        criterion.bench_function(name, |bencher| bencher.iter(|| redactor.redact(black_box(text)).len()));
    }
    let mut sizes = criterion.benchmark_group("hostile text");
    for len in [10_000, 100_000, 1_000_000] {
        let text = PIECE.repeat(len / PIECE.len());
        sizes.throughput(Throughput::Bytes(text.len() as u64));
        sizes.bench_function(len.to_string(), |bencher| bencher.iter(|| plain.redact(black_box(&text)).len()));
    }
    sizes.finish();
}

fn names(criterion: &mut Criterion) {
    assert!(is_secret_key("db_password") && !is_secret_key("order_id"));
    for name in ["order_id", "db_password", "lastModifiedBy"] {
        criterion.bench_function(&format!("name {name}"), |bencher| bencher.iter(|| is_secret_key(black_box(name))));
    }
}

criterion_group!(benches, redact, names);
criterion_main!(benches);
