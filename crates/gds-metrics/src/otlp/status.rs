//! What a receiver says beyond a code: why it refused, and when to come back.

use std::time::Duration;

use prost::Message;

/// The part of `google.rpc.Status` that matters here; servers send it as gRPC's `grpc-status-details-bin` and as the
/// body of a refused HTTP request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    /// A message for developers.
    #[prost(string, tag = "2")]
    pub(super) message: String,
    /// Messages of any type.
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    /// Which type; what follows the last slash names it.
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    /// The message of that type.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    /// Time to wait at least.
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RpcDuration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// How long to wait according to the encoded `google.rpc.Status`, if it says that trying again makes sense.
pub(super) fn retry_info(status: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(status).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    // Out of range counts as "at once"; the usual back-off is the lower bound anyhow.
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    Some(Duration::new(seconds, u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
}

/// How long to wait according to a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Duration::from_secs(http_date(value)?).saturating_sub(now))
}

/// Seconds since the Unix epoch of a date like `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that RFC 9110, section
/// 5.6.7, lets senders write.
fn http_date(value: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = value.split_once(", ")?;
    let mut parts = rest.strip_suffix(" GMT")?.split([' ', ':']);
    let day: u64 = parts.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = || parts.next()?.parse::<u64>().ok().filter(|part| *part <= 60);
    let (hours, minutes, seconds) = (clock()?, clock()?, clock()?);
    // Days of the Gregorian calendar, in years that begin in March so that a leap day is the last of its year.
    let march_year = if month < 2 { year - 1 } else { year };
    let march_month = (month + 10) % 12;
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    let days = march_year * 365 + leap_days + (march_month * 153 + 2) / 5 + (day - 1);
    // 1 March of the year 0 is 719,468 days before the epoch.
    Some((days.checked_sub(719_468)?) * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Duration::from_secs(784_111_770);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400 - 784_111_770)),
            ("Wed, 01 Jan 2025 12:00:00 GMT", Some(1_735_732_800 - 784_111_770)),
            ("-1", None),
            ("soon", None),
            ("Sun, 06 Non 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn retry_info_is_found_among_the_details() {
        let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: 2, nanos: 500_000_000 }) };
        let details = vec![
            Any { type_url: "type.googleapis.com/google.rpc.BadRequest".into(), value: vec![] },
            Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() },
        ];
        let status = RpcStatus { message: "later".into(), details };
        assert_eq!(retry_info(&status.encode_to_vec()), Some(Duration::from_millis(2500)));
        assert_eq!(retry_info(&RpcStatus { details: vec![], ..status }.encode_to_vec()), None);
        assert_eq!(retry_info(b"\xff no protobuf"), None);
    }

    #[test]
    fn a_negative_delay_is_none() {
        let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: -5, nanos: -1 }) };
        let details = vec![Any { type_url: "x/google.rpc.RetryInfo".into(), value: info.encode_to_vec() }];
        assert_eq!(retry_info(&RpcStatus { message: String::new(), details }.encode_to_vec()), Some(Duration::ZERO));
    }
}
