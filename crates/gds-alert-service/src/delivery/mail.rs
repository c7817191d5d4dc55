//! Mail over SMTP: text and HTML, a thread for each alert.

use std::path::Path;
use std::time::Duration;

use gds_alerting::effect::Notification;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials as Login;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::outcome::Outcome;
use super::settings::Settings;
use super::text;
use crate::credentials::Of;

/// Of a subject; what is longer is folded by hardly anybody.
const SUBJECT: usize = 200;
/// Answers to somebody who may not send, which a person can mend at the server.
const MENDABLE: [u16; 4] = [530, 534, 535, 538];

#[derive(Debug)]
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    pub(super) fn new(
        settings: &mut Settings<'_>,
        credentials: &Of<'_>,
        timeout: Duration,
        secrets: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mailbox = |key: &str, text: &str| {
            let form = || format!("{key}: {text:?} is no address; expected a form such as dba@example.com");
            text.parse::<Mailbox>().map_err(|_| form())
        };
        let to = settings.texts("to")?.iter().map(|to| mailbox("to", to)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err("to: missing; expected an address, or a list of them".to_owned());
        }
        // Where mail goes out is mostly the same for all channels, and not part of the rules.
        let mut of = |key: &'static str, field: &str| -> Result<Option<String>, String> {
            Ok(settings.text(key)?.map(str::to_owned).or(credentials.find(field)?))
        };
        let missing = |key: &str, field: &str| {
            let why = credentials.get(field).err().unwrap_or_default().replace("no credential; ", "");
            format!("{key}: missing; give it here, or {why}")
        };
        let from = of("from", "FROM")?.ok_or_else(|| missing("from", "FROM"))?;
        let host = of("host", "HOST")?.ok_or_else(|| missing("host", "HOST"))?;
        let cafile = of("cafile", "CAFILE")?;
        let tls = of("tls", "TLS")?;
        let mut port = settings.count("port", 65_535)?;
        if port.is_none() {
            let number = |text: String| text.parse::<u32>().map_err(|_| format!("port: {text:?} is none"));
            port = credentials.find("PORT")?.map(number).transpose()?;
        }
        let (tls, usual) = match tls.as_deref() {
            None | Some("starttls") => (Tls::Required(parameters(&host, cafile.as_deref())?), 587),
            Some("tls") => (Tls::Wrapper(parameters(&host, cafile.as_deref())?), 465),
            Some("none") => (Tls::None, 25),
            Some(other) => return Err(format!("tls: {other:?} is not known; expected one of starttls, tls, none")),
        };
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host).port(port).tls(tls).timeout(Some(timeout));
        match (credentials.find("USER")?, credentials.find("PASSWORD")?) {
            (Some(user), Some(password)) => {
                secrets.push(password.clone());
                transport = transport.credentials(Login::new(user, password));
            }
            (None, None) => {}
            (None, Some(_)) => return Err(missing("user", "USER")),
            (Some(_), None) => return Err(credentials.get("PASSWORD").err().unwrap_or_default()),
        }
        Ok(Self { transport: transport.build(), from: mailbox("from", &from)?, to })
    }

    pub(super) async fn send(&self, said: &Notification) -> Outcome {
        let message = match self.message(said) {
            Ok(message) => message,
            Err(error) => return Outcome::Refused(format!("no mail can be made of it: {error}")),
        };
        match self.transport.send(message).await {
            Ok(_) => Outcome::Delivered,
            Err(error) => {
                let status = error.status().map(u16::from);
                let reason = text::cut(&text::one_line(&because(&error)), 300);
                if error.is_permanent() && !status.is_some_and(|status| MENDABLE.contains(&status)) {
                    Outcome::Refused(reason)
                } else {
                    Outcome::retry(reason)
                }
            }
        }
    }

    fn message(&self, said: &Notification) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(text::cut(&text::title(said), SUBJECT))
            // The same when it is sent again, so that a reader who compares sees one.
            .message_id(Some(format!("<{}@{domain}>", said.id)))
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"));
        if let Some(alert) = said.alerts.first() {
            // Nobody has sent a mail of that id: what refers to it is one thread.
            let thread = format!("<{}.alert@{domain}>", alert.correlation_id);
            message = message.in_reply_to(thread.clone()).references(thread);
        }
        for to in &self.to {
            message = message.to(to.clone());
        }
        message.multipart(MultiPart::alternative_plain_html(text::plain(said), text::html(said)))
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn parameters(host: &str, cafile: Option<&str>) -> Result<TlsParameters, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("cafile: {}: {why}", cafile.unwrap_or("the system's issuers"));
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(cafile) = cafile {
        let pem = std::fs::read(Path::new(cafile)).map_err(|error| wrong(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
    }
    builder.build_rustls().map_err(|error| wrong(&error))
}

/// An error with what it says of its cause.
fn because(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Credentials;
    use crate::delivery::text::tests::said;
    use gds_alerting::effect::NotificationKind;

    fn mail(settings: &BTreeMap<String, serde_json::Value>, given: &[(&str, &str)]) -> Result<Mail, String> {
        let credentials = Credentials::new(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let of = Of { credentials: &credentials, channel: "dba", kind: "email" };
        let mut fields = Settings::new(settings);
        Mail::new(&mut fields, &of, Duration::from_secs(1), &mut Vec::new())
    }

    fn to(address: &str) -> BTreeMap<String, serde_json::Value> {
        [("to".to_owned(), address.into())].into()
    }

    const SERVER: [(&str, &str); 3] = [
        ("GDS_ALERTING_EMAIL_HOST", "mail.example.com"),
        ("GDS_ALERTING_EMAIL_FROM", "Alerts <alerts@example.com>"),
        ("GDS_ALERTING_EMAIL_TLS", "none"),
    ];

    #[test]
    fn no_text_makes_a_header_or_a_second_recipient() {
        let mail = mail(&to("dba@example.com"), &SERVER).expect("a channel");
        let mut fired = said(NotificationKind::Firing);
        let evil = format!("Über\r\nBcc: x@y\r\n\r\nbody {}", "long ".repeat(300));
        fired.alerts[0].annotations.insert("summary".to_owned(), evil);
        let message = mail.message(&fired).expect("a message");
        assert_eq!(message.envelope().to().len(), 1);
        let written = String::from_utf8(message.formatted()).expect("ASCII");
        let (head, _) = written.split_once("\r\n\r\n").expect("a head");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        assert!(head.contains("References: <c1.alert@example.com>"), "{head}");
        assert!(head.contains("Message-ID: <n1@example.com>"), "{head}");
        assert!(written.lines().all(|line| line.len() <= 998), "a line is too long");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (settings, given, part) in [
            (BTreeMap::new(), &SERVER[..], "to: missing"),
            (to("nobody"), &SERVER[..], "\"nobody\" is no address"),
            (to("dba@example.com"), &SERVER[1..], "GDS_ALERTING_EMAIL_HOST"),
            (to("dba@example.com"), &SERVER[..1], "GDS_ALERTING_DBA_FROM"),
        ] {
            let error = mail(&settings, given).err().unwrap_or_default();
            assert!(error.contains(part), "{error}");
        }
        let user = [&SERVER[..], &[("GDS_ALERTING_EMAIL_USER", "u")]].concat();
        let error = mail(&to("dba@example.com"), &user).err().unwrap_or_default();
        assert!(error.contains("GDS_ALERTING_EMAIL_PASSWORD"), "{error}");
    }
}
