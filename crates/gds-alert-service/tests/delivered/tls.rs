//! Certificates are looked at, of receivers and by who asks the API.

use gds_net::testing::Pki;
use gds_net::{Auth, ServerOptions, tls};
use reqwest::Client;

use crate::support::{Bench, Receiver, end};

fn rules(channel: &str) -> String {
    format!(
        "version: 1\nrouting:\n  default_channel: there\n  channels:\n    there: {channel}\nrules:\n  \
         - {{id: cpu_high, metric: cpu_usage, threshold: {{op: \">\", value: 85}}}}\n"
    )
}

#[test]
fn every_receiver_over_https_is_reached_where_its_issuer_is_trusted() {
    let pki = Pki::new();
    let pair = pki.issue("receiver");
    let cafile = pki.path("ca.pem");
    for (channel, credential) in [
        ("{type: webhook", None),
        ("{type: gds_notification", None),
        ("{type: slack, channel: \"#dba\"", Some(("GDS_ALERTING_SLACK_TOKEN", "xoxb-1"))),
        ("{type: pagerduty", Some(("GDS_ALERTING_PAGERDUTY_ROUTING_KEY", "R123"))),
    ] {
        let bench = Bench::new();
        let receiver = Receiver::start_tls(&bench.runtime, &pair);
        let url = receiver.url.replace("127.0.0.1", "localhost");
        let channel = format!("{channel}, url: \"{url}\", cafile: \"{}\"}}", cafile.display());
        let service = bench.start(&rules(&channel), credential.as_slice());
        bench.measure("db-1", 92.0);
        assert!(receiver.next().body.is_object(), "{channel}");
        end(service);
    }
}

#[test]
fn an_issuer_that_is_not_trusted_is_said_and_nothing_is_sent_until_it_is() {
    let bench = Bench::new();
    let (theirs, another) = (Pki::new(), Pki::new());
    let receiver = Receiver::start_tls(&bench.runtime, &theirs.issue("receiver"));
    let with = |pki: &Pki| {
        let cafile = pki.path("ca.pem");
        rules(&format!("{{type: webhook, url: \"{}\", cafile: \"{}\"}}", receiver.url, cafile.display()))
    };
    let service = bench.start(&with(&another), &[]);
    bench.measure("db-1", 92.0);
    let said = bench.wait_said("channel there has not taken a message");
    assert!(said.contains("cannot be reached: its certificate is of an issuer that is not trusted"), "{said}");
    assert!(said.contains("cafile"), "{said}");
    assert!(receiver.is_quiet());
    service.reload(&with(&theirs)).expect("taken");
    assert_eq!(receiver.next().body["status"], "firing");
    end(service);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let bench = Bench::new();
    let pki = Pki::new();
    let receiver = Receiver::start_tls(&bench.runtime, &pki.issue("receiver"));
    // Another name of the same address.
    let url = receiver.url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let cafile = pki.path("ca.pem");
    let service =
        bench.start(&rules(&format!("{{type: webhook, url: \"{url}\", cafile: \"{}\"}}", cafile.display())), &[]);
    bench.measure("db-1", 92.0);
    let said = bench.wait_said("channel there has not taken a message");
    assert!(said.contains("invalid peer certificate: certificate not valid for name"), "{said}");
    assert!(receiver.is_quiet());
    end(service);
}

#[test]
fn a_file_of_issuers_that_cannot_be_used_is_refused_at_the_start() {
    let bench = Bench::new();
    let empty = bench.folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    for path in [bench.folder.path().join("none.pem"), empty] {
        let channel = format!("{{type: webhook, url: \"https://localhost:1\", cafile: \"{}\"}}", path.display());
        let error = bench.try_start(&rules(&channel), &[]).expect_err("refused");
        assert!(error.contains("channel there") && error.contains("cafile"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn the_api_over_tls_is_for_those_who_trust_it_and_whom_it_trusts() {
    let bench = Bench::new();
    let (pki, another) = (Pki::new(), Pki::new());
    let service = bench.start(&rules("{type: log}"), &[]);
    let (certfile, keyfile) = pki.issue("api");
    let client = |issuer: &Pki, shown: Option<&Pki>| {
        let pair = shown.map(|shown| shown.issue("client"));
        let (cert, key) = (pair.as_ref().map(|pair| pair.0.as_path()), pair.as_ref().map(|pair| pair.1.as_path()));
        let config = tls::client_config(Some(&issuer.path("ca.pem")), cert, key).expect("usable files");
        Client::builder().tls_backend_preconfigured(config).no_proxy().build().expect("a client")
    };
    let ask = |client: &Client, url: &str| {
        bench.runtime.block_on(async { Ok::<_, reqwest::Error>(client.get(url).send().await?.status().as_u16()) })
    };
    for mutual in [false, true] {
        let ca = pki.path("ca.pem");
        let mut options = ServerOptions::new("127.0.0.1", 0);
        let config = tls::server_config(Some(&certfile), Some(&keyfile), mutual.then_some(ca.as_path()));
        options.tls = config.expect("usable files");
        let server = service.serve(options, Auth::None).expect("a server");
        let url = format!("{}/api/v2/alerts", server.local_addr());
        let of_tls = format!("https://{url}");
        let known = ask(&client(&pki, Some(&pki)), &of_tls);
        assert_eq!(known.expect("an answer"), 200);
        assert_eq!(ask(&client(&pki, None), &of_tls).is_ok(), !mutual, "without a certificate of its own");
        assert_eq!(ask(&client(&pki, Some(&another)), &of_tls).is_ok(), !mutual, "with one of another issuer");
        assert!(ask(&client(&another, None), &of_tls).is_err(), "by who does not trust it");
        assert!(ask(&client(&pki, Some(&pki)), &format!("http://{url}")).is_err(), "without TLS");
    }
    end(service);
}
