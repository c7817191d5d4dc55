//! What a client is told, and the checks that make settings of it.

use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::outage::LogFn;

use super::text;

/// Ethernet's 1500 bytes less an IPv6 header (40), a UDP header (8) and room for a tunnel's (20): the value that
/// Etsy's documents recommend for networks without jumbo frames, and the default of Datadog's clients.
const UDP_PACKET_BYTES: usize = 1432;
/// What Datadog's agent reads at once from its socket (`dogstatsd_buffer_size`).
const UNIX_PACKET_BYTES: usize = 8192;
/// Below this hardly any line with a tag fits.
pub(super) const MIN_PACKET_BYTES: usize = 64;
/// The most that one IPv4 UDP datagram carries.
const MAX_PACKET_BYTES: usize = 65_507;

/// Settings of a [`Statsd`](super::Statsd); checked by [`Statsd::new`](super::Statsd::new).
#[derive(Clone, Debug)]
pub struct StatsdOptions {
    /// Host name or address of the server; `None` is `127.0.0.1`, or nothing when `socket_path` is given.
    /// A name is resolved when something is sent, and again every minute.
    pub host: Option<String>,
    /// UDP port, 1 to 65535. Wider than a port so that a user's mistake is answered with this crate's message.
    pub port: i64,
    /// Path of a unix datagram socket to use instead of UDP.
    pub socket_path: Option<PathBuf>,
    /// Put before every name and joined with a dot; may be empty.
    pub prefix: String,
    /// Tags of every series. A label of the same name given with a value takes the place of the tag.
    pub constant_tags: Vec<(String, String)>,
    /// Most bytes per datagram, 64 to 65507; `None` is 1432 for UDP and 8192 for a unix socket.
    pub max_packet_bytes: Option<usize>,
    /// Time between two flushes of a started client. The default of one second is a tenth of the interval over
    /// which servers aggregate, so a value is late by little and a crash loses little.
    pub flush_interval: Duration,
    /// Most label sets of one name (and kind) before the rest goes to one series tagged `overflow:true`. Names have no
    /// such bound: they are the program's own words.
    pub max_series: usize,
    /// Most histogram and timing values that wait for a flush, eight bytes each. One series takes at most half, so
    /// that a hot one leaves room for the others; what is beyond is thinned, see [`statsd`](super).
    pub max_buffered_samples: usize,
    /// Sends many values of a series in one line (`name:1:2:3|h`). `DogStatsD` protocol 1.1 only (agent 6.25 and
    /// 7.25 on); other servers misread it, so the default is one line for each value.
    pub pack_values: bool,
    /// Sends every gauge again when it was not sent for so long, for servers that forget. The default `None` sends
    /// a gauge only when it was set, as Datadog's own clients do: a dead gauge then shows as a gap.
    pub gauge_resend_interval: Option<Duration>,
    /// Time, as far as it decides when to resolve and send again.
    pub clock: Clock,
    /// Who is told when the server goes away, and when it is back.
    pub log: LogFn,
}

impl Default for StatsdOptions {
    fn default() -> Self {
        Self {
            host: None,
            port: 8125,
            socket_path: None,
            prefix: String::new(),
            constant_tags: Vec::new(),
            max_packet_bytes: None,
            flush_interval: Duration::from_secs(1),
            max_series: 10_000,
            max_buffered_samples: 65_536,
            pack_values: false,
            gauge_resend_interval: None,
            clock: Clock::System,
            log: LogFn::default(),
        }
    }
}

/// Where datagrams go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Udp { host: String, port: u16 },
    Unix { path: PathBuf, addr: UnixAddr },
}

impl Target {
    /// For messages.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Udp { host, port } if host.contains(':') => format!("udp://[{host}]:{port}"),
            Self::Udp { host, port } => format!("udp://{host}:{port}"),
            Self::Unix { path, .. } => format!("unixgram://{}", path.display()),
        }
    }
}

/// Options that passed every check, in the form the client uses.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    /// Empty, or sanitised and ending with a dot.
    pub(super) prefix: String,
    /// Sanitised.
    pub(super) constant_tags: Vec<(String, String)>,
    pub(super) max_packet_bytes: usize,
    pub(super) max_series: usize,
    pub(super) max_buffered_samples: usize,
    pub(super) pack_values: bool,
    pub(super) gauge_resend_millis: Option<u64>,
    pub(super) clock: Clock,
}

impl StatsdOptions {
    pub(super) fn check(&self) -> Result<Settings> {
        let (target, default_packet) = match &self.socket_path {
            Some(path) => (self.unix(path.clone())?, UNIX_PACKET_BYTES),
            None => (self.udp()?, UDP_PACKET_BYTES),
        };
        let max_packet_bytes = self.max_packet_bytes.unwrap_or(default_packet);
        if !(MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&max_packet_bytes) {
            return Err(Error::setting(
                "max_packet_bytes",
                &max_packet_bytes,
                format!(
                    "{MIN_PACKET_BYTES} to {MAX_PACKET_BYTES} bytes; leave it out for {default_packet}, which fits here"
                ),
            ));
        }
        at_least_one("max_series", self.max_series, "10000 is the default")?;
        at_least_one("max_buffered_samples", self.max_buffered_samples, "65536 is the default")?;
        if self.flush_interval.is_zero() {
            return Err(Error::setting("flush_interval", "0", "more than zero; one second suits most servers"));
        }
        if self.gauge_resend_interval.is_some_and(|interval| interval.is_zero()) {
            return Err(Error::setting(
                "gauge_resend_interval",
                "0",
                "more than zero; leave it out to send changes only",
            ));
        }
        if self.constant_tags.iter().any(|(name, _)| name.is_empty()) {
            return Err(Error::setting("constant_tags", "", "a name for every tag; remove the tag without one"));
        }
        Ok(Settings {
            target,
            prefix: text::prefix(&self.prefix),
            constant_tags: text::pairs(self.constant_tags.iter().map(|(name, value)| (&**name, &**value))),
            max_packet_bytes,
            max_series: self.max_series,
            max_buffered_samples: self.max_buffered_samples,
            pack_values: self.pack_values,
            gauge_resend_millis: self
                .gauge_resend_interval
                .map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
            clock: self.clock.clone(),
        })
    }

    fn udp(&self) -> Result<Target> {
        let given = self.host.as_deref().unwrap_or("127.0.0.1");
        // Brackets belong to URLs, and users copy addresses from there.
        let host = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(given);
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if host.is_empty() {
            return Err(Error::setting("host", given, "a host name or address; leave it out for 127.0.0.1"));
        }
        if !is_address && host.contains(|c: char| matches!(c, ':' | '/' | '@') || c.is_whitespace() || c.is_control()) {
            // Not what may be a password of a URL.
            let shown = given.rsplit_once('@').map_or(given, |(_, host)| host);
            return Err(Error::setting(
                "host",
                shown,
                "a host name or address alone; put the port into port and a unix socket into socket_path",
            ));
        }
        let port = u16::try_from(self.port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| {
            Error::setting("port", &self.port, "1 to 65535; use the port of the agent, which is 8125 by default")
        })?;
        Ok(Target::Udp { host: host.to_owned(), port })
    }

    fn unix(&self, path: PathBuf) -> Result<Target> {
        let shown = path.display().to_string();
        if let Some(host) = &self.host {
            return Err(Error::setting("socket_path", &shown, format!("no host beside it (host={host}); remove one")));
        }
        if path.as_os_str().is_empty() {
            return Err(Error::setting("socket_path", "", "the path of the agent's socket; leave it out for UDP"));
        }
        match UnixAddr::from_pathname(&path) {
            Ok(addr) => Ok(Target::Unix { path, addr }),
            // The address has a fixed size: 108 bytes on Linux, 104 elsewhere, one of them for the end.
            Err(error) => Err(Error::setting(
                "socket_path",
                &shown,
                format!("a path that fits a socket address ({error}); use a shorter one"),
            )),
        }
    }
}

fn at_least_one(setting: &'static str, value: usize, remedy: &str) -> Result<()> {
    if value == 0 {
        return Err(Error::setting(setting, &value, format!("at least 1; {remedy}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(options: &StatsdOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_the_agent_on_this_machine() {
        let settings = StatsdOptions::default().check().unwrap();
        assert_eq!(settings.target.url(), "udp://127.0.0.1:8125");
        assert_eq!(settings.max_packet_bytes, 1432);
        let unix = StatsdOptions { socket_path: Some("/run/agent.sock".into()), ..StatsdOptions::default() };
        let settings = unix.check().unwrap();
        assert_eq!((settings.target.url().as_str(), settings.max_packet_bytes), ("unixgram:///run/agent.sock", 8192));
    }

    #[test]
    fn a_port_that_is_none_is_named() {
        for port in [0, -1, 65_536, i64::MAX] {
            let text = message(&StatsdOptions { port, ..StatsdOptions::default() });
            assert!(text.starts_with(&format!("port={port}: expected 1 to 65535")), "{text}");
        }
    }

    #[test]
    fn hosts_that_hold_more_than_a_host_are_refused() {
        for host in ["", "[]", "agent:8125", "udp://agent", "my agent", "/run/agent.sock"] {
            let text = message(&StatsdOptions { host: Some(host.into()), ..StatsdOptions::default() });
            assert!(text.starts_with(&format!("host={host}: expected")), "{text}");
        }
        let text = message(&StatsdOptions { host: Some("udp://me:secret@agent".into()), ..StatsdOptions::default() });
        assert!(text.starts_with("host=agent: expected"), "{text}");
        for host in ["::1", "[::1]"] {
            let options = StatsdOptions { host: Some(host.into()), ..StatsdOptions::default() };
            assert_eq!(options.check().unwrap().target.url(), "udp://[::1]:8125");
        }
    }

    #[test]
    fn packet_sizes_outside_the_range_are_refused() {
        for bytes in [0, 63, 65_508] {
            let text = message(&StatsdOptions { max_packet_bytes: Some(bytes), ..StatsdOptions::default() });
            assert!(text.starts_with(&format!("max_packet_bytes={bytes}: expected 64 to 65507")), "{text}");
        }
    }

    #[test]
    fn a_socket_path_is_alone_and_short() {
        let long = format!("/{}", "x".repeat(200));
        let text = message(&StatsdOptions { socket_path: Some(long.into()), ..StatsdOptions::default() });
        assert!(text.starts_with("socket_path=/xxx") && text.ends_with("use a shorter one"), "{text}");
        let text = message(&StatsdOptions { socket_path: Some("".into()), ..StatsdOptions::default() });
        assert!(text.starts_with("socket_path=: expected the path"), "{text}");
        let text = message(&StatsdOptions {
            host: Some("agent".into()),
            socket_path: Some("/run/agent.sock".into()),
            ..StatsdOptions::default()
        });
        assert_eq!(text, "socket_path=/run/agent.sock: expected no host beside it (host=agent); remove one");
    }

    #[test]
    fn zero_is_no_size_and_no_interval() {
        let base = StatsdOptions::default;
        for options in [
            StatsdOptions { max_series: 0, ..base() },
            StatsdOptions { max_buffered_samples: 0, ..base() },
            StatsdOptions { flush_interval: Duration::ZERO, ..base() },
            StatsdOptions { gauge_resend_interval: Some(Duration::ZERO), ..base() },
        ] {
            assert!(message(&options).contains("=0: expected"), "{options:?}");
        }
        let unnamed = StatsdOptions { constant_tags: vec![(String::new(), "x".into())], ..base() };
        assert!(message(&unnamed).contains("a name for every tag"));
    }
}
