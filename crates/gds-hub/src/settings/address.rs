//! Where the hub is.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// Where the hub is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A Kafka cluster: `host:port`, separated by commas.
    Kafka(String),
    /// A folder that holds the log of one machine.
    Embedded(PathBuf),
}

const EXPECTED: &str =
    "expected \"host:port\", [\"host:port\", ...], \"kafka://host:port,host:port\" or \"embedded:PATH\"";

impl Address {
    /// The address in `servers`: one `embedded:PATH`, or brokers, each with or without its port (9092).
    pub fn parse(servers: &[String]) -> Result<Self> {
        if let [one] = servers
            && let Some(path) = one.trim().strip_prefix("embedded:")
        {
            if path.is_empty() || path.contains('\0') {
                return Err(refused(one, "it names no folder"));
            }
            return Ok(Self::Embedded(at_home(path).map_err(|why| refused(one, why))?));
        }
        let mut brokers = Vec::new();
        for given in servers {
            let list = given.trim();
            let list = list.strip_prefix("kafka://").unwrap_or(list);
            for broker in list.split(',').map(|broker| broker.trim().trim_end_matches('/')) {
                brokers.push(Self::broker(given, broker)?);
            }
        }
        if brokers.is_empty() {
            return Err(Error::Config(format!("bootstrap_servers is empty: {EXPECTED}").into()));
        }
        Ok(Self::Kafka(brokers.join(",")))
    }

    fn broker(given: &str, broker: &str) -> Result<String> {
        if broker.starts_with("embedded:") {
            return Err(refused(given, "the embedded hub stands alone, without brokers beside it"));
        }
        if broker.contains("://") {
            return Err(refused(given, "the only scheme is kafka://; how to connect is said by security_protocol"));
        }
        if broker.is_empty() || broker.chars().any(|c| c.is_whitespace() || c.is_control() || "/@?#\"'".contains(c)) {
            return Err(refused(given, "a broker is host:port"));
        }
        // An IPv6 address has colons of its own, and therefore brackets when there is a port.
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (broker, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.unwrap_or(host).is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(refused(given, "a broker is host:port, and an IPv6 address stands in brackets"));
        }
        match port.map(str::parse::<u16>) {
            None => Ok(format!("{host}:9092")),
            Some(Ok(port)) if port > 0 => Ok(format!("{host}:{port}")),
            Some(_) => Err(refused(given, "the port is a number from 1 to 65535")),
        }
    }
}

/// A path as a shell reads it: `~` at its start is the home of this user. Another user's (`~name`) is not looked up,
/// and a folder of that name is certainly not meant.
pub(super) fn at_home(path: &str) -> Result<PathBuf, &'static str> {
    let Some(rest) = path.strip_prefix('~') else {
        // From the root: what it names stays what it named when the program changes its folder later.
        return Ok(std::path::absolute(path).unwrap_or_else(|_| path.into()));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(
            "of home folders only one's own is known, as ~/hub; give a path, or ./~... for a folder of that name",
        );
    }
    let home =
        std::env::home_dir().filter(|home| home.is_absolute()).ok_or("there is no home folder: HOME is not set")?;
    Ok(home.join(rest.trim_start_matches('/')))
}

/// Shows the address, unless it may hold a password.
fn refused(given: &str, why: &str) -> Error {
    let message = if given.contains('@') {
        "bootstrap_servers holds a user name or an \"@\" (not shown): give hosts and ports only, and who you are as \
         sasl_plain_username and sasl_plain_password"
            .to_owned()
    } else {
        format!("bootstrap_servers: {given:?} is no address: {why}; {EXPECTED}")
    };
    Error::Config(message.into())
}
