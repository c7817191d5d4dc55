//! Mail to a server that speaks as much SMTP as is needed; a real one is in the tests of the wheel.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{Bench, LONG, end};

/// Takes mails, of which each has as many answers as `first` says before it is taken.
fn server(runtime: &Runtime, first: &'static [&'static str]) -> (u16, Receiver<String>) {
    let (tell, got) = channel();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    runtime.spawn(async move {
        let mut answers = first.iter();
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let _ = write.write_all(b"220 here\r\n").await;
            let (mut mail, mut inside) = (String::new(), false);
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.as_str() {
                    "." if inside => {
                        inside = false;
                        let _ = tell.send(std::mem::take(&mut mail));
                        "250 taken"
                    }
                    text if inside => {
                        mail.push_str(text);
                        mail.push('\n');
                        continue;
                    }
                    "DATA" => {
                        inside = true;
                        "354 go on"
                    }
                    text if text.starts_with("MAIL") => answers.next().copied().unwrap_or("250 ok"),
                    "QUIT" => "221 bye",
                    text => {
                        if text.starts_with("RCPT") {
                            mail.push_str(text);
                            mail.push('\n');
                        }
                        "250 ok"
                    }
                };
                if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (port, got)
}

#[test]
fn a_mail_is_tried_again_and_arrives_whole() {
    let bench = Bench::new();
    let (port, mails) = server(&bench.runtime, &["451 later"]);
    let rules = format!(
        "version: 1\nrouting:\n  default_channel: dba\n  channels:\n    dba: {{type: email, to: [dba@example.com, \
         \"Boss <boss@example.com>\"], host: 127.0.0.1, port: {port}, tls: none, from: alerts@example.com}}\nrules:\n  \
         - id: cpu_high\n    metric: cpu_usage\n    threshold: {{op: \">\", value: 85}}\n    annotations: {{summary: \
         \"Gerät {{{{ instance_id }}}} ist überlastet\"}}\n"
    );
    let service = bench.start(&rules, &[]);
    bench.measure("db-1", 92.0);
    let fired = mails.recv_timeout(LONG).expect("a mail");
    assert_eq!(fired.matches("RCPT TO:").count(), 2, "{fired}");
    for part in ["Auto-Submitted: auto-generated", "From: alerts@example.com", "multipart/alternative", "text/html"] {
        assert!(fired.contains(part), "{part} is not in {fired}");
    }
    assert!(fired.contains("Subject: =?utf-8?") || fired.contains("=?utf-8?b?"), "{fired}");
    bench.measure("db-1", 10.0);
    let over = mails.recv_timeout(LONG).expect("a mail");
    let thread = |mail: &str| mail.lines().find(|line| line.starts_with("References:")).map(str::to_owned);
    assert_eq!(thread(&fired), thread(&over));
    assert!(thread(&fired).is_some());
    end(service);
    assert!(mails.recv_timeout(Duration::from_millis(1)).is_err(), "no third mail");
}
