//! What a client asks of the program, and tells it.

use std::fmt;
use std::sync::Arc;

/// How loud a log line of librdkafka is; syslog's levels, the rare ones put together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    /// syslog 7.
    Debug,
    /// syslog 5 and 6.
    Info,
    /// syslog 4.
    Warning,
    /// syslog 3.
    Error,
    /// syslog 0 to 2.
    Critical,
}

impl LogLevel {
    pub(super) fn of_syslog(level: i32) -> Self {
        match level {
            ..=2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 | 6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Told of each log line: its level, librdkafka's name of the facility, the text. Called by a thread of the client.
pub type LogCallback = Arc<dyn Fn(LogLevel, &str, &str) + Send + Sync>;

/// What a client asks of the program. None of these may wait long: other events wait behind them.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// Where librdkafka's log lines go; without one they are dropped. No secret of the settings is in them.
    pub log: Option<LogCallback>,
    /// Asked for a token when one is needed, with SASL OAUTHBEARER.
    pub token: Option<TokenCallback>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("log", &self.log.is_some()).field("token", &self.token.is_some()).finish()
    }
}

/// A token and what goes with it.
#[derive(Clone, Default)]
pub struct Token {
    /// The token itself, as the broker is to get it.
    pub token: String,
    /// Whose it is.
    pub principal: String,
    /// When it ends, in milliseconds since the epoch; the next one is asked for before.
    pub expires_ms: i64,
    /// SASL extensions (RFC 7628), name and value.
    pub extensions: Vec<(String, String)>,
}

/// Does not show the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("principal", &self.principal)
            .field("expires_ms", &self.expires_ms)
            .finish_non_exhaustive()
    }
}

/// Gives a token, or says why there is none; librdkafka asks again after ten seconds.
pub type TokenCallback = Arc<dyn Fn() -> Result<Token, String> + Send + Sync>;
