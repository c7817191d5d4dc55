//! Slack: `chat.postMessage` with a token, or an incoming webhook.

use gds_alerting::effect::{Notification, NotificationKind};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::http::Endpoint;
use super::outcome::Outcome;
use super::text;

pub(super) const URL: &str = "https://slack.com/api/chat.postMessage";
/// What is shown of a text, in characters.
const LONGEST: usize = 3000;

#[derive(Debug)]
pub(super) struct Slack {
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
    /// None with a webhook, which has a channel of its own.
    pub(super) channel: Option<String>,
}

impl Slack {
    pub(super) async fn send(&self, said: &Notification) -> Outcome {
        let answer = match self.endpoint.post(self.headers.clone(), self.body(said).to_string().into_bytes()).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        let outcome = answer.outcome();
        if outcome != Outcome::Delivered || self.channel.is_none() {
            return outcome;
        }
        // Its API says 200 to everything, and in the body what it thinks.
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let error = said["error"].as_str().unwrap_or("no JSON");
        match error {
            _ if said["ok"] == true => Outcome::Delivered,
            "msg_too_long" | "no_text" | "invalid_blocks" | "invalid_arguments" => Outcome::Refused(error.to_owned()),
            _ => Outcome::Retry { reason: text::cut(&text::one_line(error), 100), after: answer.asked },
        }
    }

    fn body(&self, said: &Notification) -> Value {
        let colour = match said.kind {
            NotificationKind::Resolved => "good",
            NotificationKind::NoData | NotificationKind::Limited => "warning",
            _ => "danger",
        };
        let mut body = json!({
            "text": escaped(&text::title(said)),
            "attachments": [{"color": colour, "text": escaped(&text::cut(&text::plain(said), LONGEST))}],
        });
        if let Some(channel) = &self.channel {
            body["channel"] = channel.as_str().into();
        }
        body
    }
}

/// Text that mentions nobody and links to nothing by its signs.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::text::tests::said;

    #[test]
    fn a_message_mentions_nobody() {
        let endpoint = Endpoint::new(URL, std::time::Duration::from_secs(1), None).expect("an endpoint");
        let to = Slack { endpoint, headers: HeaderMap::new(), channel: Some("#dba".to_owned()) };
        let mut fired = said(NotificationKind::Firing);
        fired.alerts[0].annotations.insert("summary".to_owned(), "<!channel> down".to_owned());
        let body = to.body(&fired);
        assert_eq!(body["text"], "FIRING critical: &lt;!channel&gt; down");
        assert_eq!(
            (body["channel"].as_str(), body["attachments"][0]["color"].as_str()),
            (Some("#dba"), Some("danger"))
        );
        assert_eq!(to.body(&said(NotificationKind::Resolved))["attachments"][0]["color"], "good");
    }
}
