use crate::otlp::{OtlpOptions, resolve};

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn no_debug_output_shows_a_secret() {
    let options = OtlpOptions {
        endpoint: Some("https://user:hunter2@host/v1?key=hunter2".to_owned()),
        headers: Some(vec![("api-key".to_owned(), "hunter2".to_owned())]),
        ..OtlpOptions::default()
    };
    let config = resolve(&options, none).unwrap();
    for shown in [format!("{options:?}"), format!("{config:?}"), format!("{config:#?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
        assert!(shown.contains("api-key") && shown.contains("https://host/v1"), "{shown}");
    }
}

#[test]
fn no_error_and_no_warning_shows_a_secret() {
    let endpoint = Some("ftp://user:hunter2@host?key=hunter2".to_owned());
    let options = OtlpOptions { endpoint, ..OtlpOptions::default() };
    let error = resolve(&options, none).unwrap_err().to_string();
    assert!(!error.contains("hunter2") && error.contains("host"), "{error}");

    let headers = Some(vec![("api-key".to_owned(), "hunter2\n".repeat(2))]);
    let error = resolve(&OtlpOptions { headers, ..OtlpOptions::default() }, none).unwrap_err().to_string();
    assert!(!error.contains("hunter2") && error.contains("api-key"), "{error}");

    // As a header is written in HTTP, which is not how it is passed.
    let headers = Some(vec![("authorization: Basic hunter2=".to_owned(), String::new())]);
    let error = resolve(&OtlpOptions { headers, ..OtlpOptions::default() }, none).unwrap_err().to_string();
    assert!(!error.contains("hunter2") && error.contains("headers=authorization: expected"), "{error}");

    let config = resolve(&OtlpOptions::default(), |name| {
        let value = match name {
            "OTEL_EXPORTER_OTLP_HEADERS" => {
                "api-key=hunter2%0A,hunter2,ok=hunter2,content-type=hunter2,authorization: Basic hunter2==,Bearer hunter2="
            }
            "OTEL_EXPORTER_OTLP_ENDPOINT" => "ftp://user:hunter2@host",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap();
    // A line break at either end is trimmed rather than refused.
    assert_eq!(config.headers.len(), 2);
    assert_eq!(config.warnings.len(), 5);
    assert!(!config.warnings.iter().any(|warning| warning.contains("hunter2")), "{:?}", config.warnings);
}
