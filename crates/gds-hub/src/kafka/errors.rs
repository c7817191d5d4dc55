//! librdkafka's numbers and words as errors of ours.
#![allow(unsafe_code)] // each block says why it is sound

use rdkafka_sys::{rd_kafka_err2str, rd_kafka_resp_err_t as Code};

use super::text::owned_text;
use crate::error::{Error, Failure};

pub(super) const QUEUE_FULL: i32 = Code::RD_KAFKA_RESP_ERR__QUEUE_FULL as i32;
pub(super) const TOO_LARGE: i32 = Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as i32;
pub(super) const FATAL: i32 = Code::RD_KAFKA_RESP_ERR__FATAL as i32;
pub(super) const TIMED_OUT: i32 = Code::RD_KAFKA_RESP_ERR__TIMED_OUT as i32;
pub(super) const ALL_BROKERS_DOWN: i32 = Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32;
pub(super) const MSG_TIMED_OUT: i32 = Code::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT as i32;
pub(super) const PURGE_QUEUE: i32 = Code::RD_KAFKA_RESP_ERR__PURGE_QUEUE as i32;
pub(super) const PURGE_INFLIGHT: i32 = Code::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT as i32;

/// An error with librdkafka's number, the kind that goes with it, and these words.
pub(super) fn error(code: i32, message: impl Into<String>) -> Error {
    let (kind, retriable) = kind(code);
    let failure = Failure::new(message).with_code(code);
    kind(match code {
        FATAL => failure.fatal(),
        _ if retriable => failure.retriable(),
        _ => failure,
    })
}

/// The end of a client.
pub(super) fn fatal(code: i32, text: &str) -> Error {
    let message = format!("the Kafka client cannot go on, make a new one: {text}");
    Error::Connection(Failure::new(message).with_code(code).fatal())
}

/// librdkafka's words for a number.
pub(super) fn text(code: i32) -> String {
    match Code::try_from(code) {
        // SAFETY: the texts are constants of librdkafka.
        Ok(code) => unsafe { owned_text(rd_kafka_err2str(code)) },
        Err(_) => format!("error {code}"),
    }
}

/// What kind of error a number is, and whether trying again later may help.
fn kind(code: i32) -> (fn(Failure) -> Error, bool) {
    use Code as C;
    let Ok(code) = C::try_from(code) else { return (Error::Message, false) };
    match code {
        C::RD_KAFKA_RESP_ERR__TRANSPORT
        | C::RD_KAFKA_RESP_ERR__RESOLVE
        | C::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
        | C::RD_KAFKA_RESP_ERR__WAIT_COORD
        | C::RD_KAFKA_RESP_ERR__NODE_UPDATE
        | C::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
        | C::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
        | C::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
        | C::RD_KAFKA_RESP_ERR_NOT_COORDINATOR
        | C::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS => (Error::Connection, true),
        C::RD_KAFKA_RESP_ERR__AUTHENTICATION
        | C::RD_KAFKA_RESP_ERR__SSL
        | C::RD_KAFKA_RESP_ERR__FATAL
        | C::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED
        | C::RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM
        | C::RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE => (Error::Connection, false),
        C::RD_KAFKA_RESP_ERR__TIMED_OUT
        | C::RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
        | C::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
        | C::RD_KAFKA_RESP_ERR__PURGE_QUEUE
        | C::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT
        | C::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT => (Error::Timeout, true),
        C::RD_KAFKA_RESP_ERR__QUEUE_FULL => (Error::Full, true),
        C::RD_KAFKA_RESP_ERR__DESTROY => (Error::Closed, false),
        C::RD_KAFKA_RESP_ERR__FS | C::RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE => (Error::Storage, true),
        // Refused now, and not for what the record is.
        C::RD_KAFKA_RESP_ERR__IN_PROGRESS
        | C::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
        | C::RD_KAFKA_RESP_ERR__STATE
        | C::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST
        | C::RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE
        | C::RD_KAFKA_RESP_ERR__INCONSISTENT
        | C::RD_KAFKA_RESP_ERR__NO_OFFSET
        | C::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        | C::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
        | C::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
        | C::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS
        | C::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | C::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
        | C::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
        | C::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
        | C::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
        | C::RD_KAFKA_RESP_ERR_NOT_CONTROLLER
        | C::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
        | C::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
        | C::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
        | C::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
        | C::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
        | C::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID
        | C::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
        | C::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED => (Error::Message, true),
        // Too large, not authorised, unknown topic, and whatever else the broker does not want.
        _ => (Error::Message, false),
    }
}

/// Whether trying again cannot help before somebody changes something: who we are, or whom we trust.
pub(super) fn hopeless(code: i32) -> bool {
    let error = error(code, "");
    matches!(error, Error::Connection(_)) && !error.retriable()
}

/// Whether the brokers do not let this client write at all: it is not for what a record is.
pub(super) fn refuses_client(code: i32) -> bool {
    matches!(
        Code::try_from(code),
        Ok(Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    )
}

/// Whether librdkafka writes a line of its own to its log when it tells of this.
pub(super) fn logged(code: i32) -> bool {
    matches!(
        Code::try_from(code),
        Ok(Code::RD_KAFKA_RESP_ERR__TRANSPORT
            | Code::RD_KAFKA_RESP_ERR__RESOLVE
            | Code::RD_KAFKA_RESP_ERR__SSL
            | Code::RD_KAFKA_RESP_ERR__AUTHENTICATION
            | Code::RD_KAFKA_RESP_ERR__FATAL)
    )
}

/// librdkafka's words without what is about itself: "host:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection
/// refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)".
pub(super) fn shortened(text: &str) -> &str {
    let text = text.rsplit_once(" (after ").map_or(text, |(text, _)| text);
    let Some((place, rest)) = text.split_once(": ") else { return text };
    if place.contains('/') && !place.contains(' ') { rest } else { text }
}

/// As [`shortened`]; and the address, where it is not one of those given as `brokers` but what the cluster calls a
/// broker: whoever reads it has never written it anywhere.
pub(super) fn located(text: &str, brokers: &str) -> String {
    let short = shortened(text);
    let place = text.split_once(": ").map_or("", |(place, _)| place);
    let advertised = place.rsplit_once('/').filter(|(_, node)| node.bytes().all(|byte| byte.is_ascii_digit()));
    let address = advertised.map(|(address, _)| address.rsplit_once("://").map_or(address, |(_, address)| address));
    match address {
        Some(address) if !place.contains(' ') && !brokers.split(',').any(|broker| broker == address) => {
            format!("the broker that calls itself {address} (advertised.listeners) is not reached: {short}")
        }
        _ => short.to_owned(),
    }
}

/// Why no connection came about, and what can be done about it.
pub(super) fn unreachable(brokers: &str, kerberos: bool, code: i32, reason: &str) -> Error {
    let hint = match Code::try_from(code) {
        Ok(Code::RD_KAFKA_RESP_ERR__AUTHENTICATION | Code::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED) => {
            if kerberos {
                "check sasl_kerberos_service_name, sasl.kerberos.principal and sasl.kerberos.keytab, and try kinit with them"
            } else {
                "check sasl_mechanism, sasl_plain_username and sasl_plain_password"
            }
        }
        Ok(Code::RD_KAFKA_RESP_ERR__SSL) => "check ssl_cafile, ssl_certfile and the broker's certificate",
        Ok(Code::RD_KAFKA_RESP_ERR__RESOLVE) => "check the host names in bootstrap_servers",
        _ => "is the broker running, and are bootstrap_servers and security_protocol those of its listener?",
    };
    let message = format!("Failed to connect to {brokers}: {reason}; {hint}");
    let failure = Failure::new(message).with_code(code);
    Error::Connection(if hopeless(code) { failure } else { failure.retriable() })
}

/// OpenSSL's reasons to refuse a certificate (x509_vfy.h).
pub(super) fn certificate_error(code: i32) -> String {
    let reason = match code {
        2 | 20 => "its issuer is not known",
        7 => "its signature is wrong",
        9 => "it is not valid yet",
        10 => "it has expired",
        18 => "it is self-signed and not trusted",
        19 => "a self-signed certificate in its chain is not trusted",
        21 => "its signature cannot be verified",
        22 => "its chain is too long",
        23 => "it was revoked",
        3 | 11 | 12 | 33 => "there is no valid list of revoked certificates",
        24 | 79 => "its issuer may not issue certificates",
        26 => "it is not for this purpose",
        62 => "it is for another host name",
        64 => "it is for another address",
        66 | 67 => "its key or its issuer's is too weak",
        code => return format!("OpenSSL refuses it with code {code}"),
    };
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafkas_words_lose_what_is_about_itself() {
        for (given, expected) in [
            (
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            ("1/1 brokers are down", "1/1 brokers are down"),
            (
                "sasl_ssl://h:1/1: SASL authentication error: no (after 3ms in state AUTH_REQ)",
                "SASL authentication error: no",
            ),
            ("", ""),
        ] {
            assert_eq!(shortened(given), expected);
        }
    }

    #[test]
    fn an_address_that_only_the_cluster_knows_is_named() {
        for (text, expected) in [
            (
                "sasl_ssl://kafka-0.internal:9092/1: Connection setup timed out in state CONNECT (after 30028ms in state CONNECT)",
                "the broker that calls itself kafka-0.internal:9092 (advertised.listeners) is not reached: Connection setup \
                 timed out in state CONNECT",
            ),
            ("h:1/1: Disconnected", "Disconnected"),
            ("h:2/bootstrap: Disconnected", "Disconnected"),
            ("1/1 brokers are down", "1/1 brokers are down"),
        ] {
            assert_eq!(located(text, "g:1,h:1"), expected);
        }
    }

    #[test]
    fn refusals_for_good_are_told_from_those_of_the_moment() {
        for (code, retriable) in [
            (10, false), // too large
            (29, false), // topic not authorised
            (3, false),  // unknown topic
            (17, false), // invalid topic
            (87, false), // invalid record
            (19, true),  // not enough replicas
            (MSG_TIMED_OUT, true),
            (QUEUE_FULL, true),
            (12_345, false),
        ] {
            let error = error(code, "");
            assert_eq!((error.retriable(), error.code(), error.fatal()), (retriable, Some(code), false), "{code}");
        }
        assert!(error(FATAL, "").fatal());
        assert!(!text(10).is_empty() && text(12_345).contains("12345"));
    }
}
