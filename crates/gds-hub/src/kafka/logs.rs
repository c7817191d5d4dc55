//! librdkafka's log lines on their way to the program.
#![allow(unsafe_code)] // each block says why it is sound

use std::ptr;

use rdkafka_sys as sys;

use super::callbacks::LogLevel;
use super::context::ClientContext;
use super::native::Event;
use super::text::owned_text;

/// Passes on the line of a log event.
pub(super) fn pass_on(event: &Event, shared: &ClientContext) {
    if shared.callbacks.log.is_none() {
        return;
    }
    let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the event is alive, and so are its texts, which end in NUL; they are copied before it goes.
    let (result, facility, text) = unsafe {
        let result = sys::rd_kafka_event_log(event.raw(), &raw mut facility, &raw mut text, &raw mut level);
        (result, owned_text(facility), owned_text(text))
    };
    if result == 0 {
        // librdkafka warns of an answer that every new cluster gives once.
        let passing = facility == "GETPID" && text.ends_with("retrying");
        let level = LogLevel::of_syslog(level);
        let text = if facility == "SASLREFRESH" { without_command(&text) } else { text };
        shared.log(if passing { level.min(LogLevel::Info) } else { level }, &facility, &text);
    }
}

/// A line about `sasl.kerberos.kinit.cmd` without the command, in which people put passwords.
fn without_command(text: &str) -> String {
    // What stands before the command, and whether a reason comes after it.
    const PLACES: [(&str, bool); 4] = [
        ("Kerberos ticket refresh failed: ", true),
        ("returned ECHILD: ", true),
        ("with command: ", false),
        ("Slow Kerberos ticket refresh: ", false),
    ];
    for (before, gives_reason) in PLACES {
        if let Some((start, rest)) = text.split_once(before) {
            let reason = rest.rsplit_once(": ").filter(|_| gives_reason).map(|(_, reason)| format!(": {reason}"));
            return format!("{start}{before}sasl.kerberos.kinit.cmd{}", reason.unwrap_or_default());
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_password_is_in_no_line() {
        for (line, left) in [
            (
                "[thrd:main]: Kerberos ticket refresh failed: echo hunter2: | kinit alice: exited with code 1",
                "[thrd:main]: Kerberos ticket refresh failed: sasl.kerberos.kinit.cmd: exited with code 1",
            ),
            (
                "[thrd:main]: Kerberos ticket refresh command returned ECHILD: echo hunter2: exit status unknown",
                "[thrd:main]: Kerberos ticket refresh command returned ECHILD: sasl.kerberos.kinit.cmd: exit status unknown",
            ),
            (
                "[thrd:main]: Refreshing Kerberos ticket with command: echo hunter2 | kinit",
                "[thrd:main]: Refreshing Kerberos ticket with command: sasl.kerberos.kinit.cmd",
            ),
            (
                "[thrd:main]: Slow Kerberos ticket refresh: 5001ms: echo hunter2",
                "[thrd:main]: Slow Kerberos ticket refresh: sasl.kerberos.kinit.cmd",
            ),
            ("[thrd:main]: Kerberos ticket refreshed in 3ms", "[thrd:main]: Kerberos ticket refreshed in 3ms"),
        ] {
            assert_eq!(without_command(line), left);
        }
    }
}
