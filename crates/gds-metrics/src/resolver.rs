//! [`gds_process::resolve`] for the HTTP clients, whose own look-ups know nothing of forks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Looks names up beside the runtime's threads, as the system would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkSafeResolver;

impl ForkSafeResolver {
    /// Connections of which the caller makes HTTP, over TLS or not.
    pub(crate) fn connector() -> hyper_util::client::legacy::connect::HttpConnector<Self> {
        let mut connector = hyper_util::client::legacy::connect::HttpConnector::new_with_resolver(Self);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector
    }
}

async fn look_up(host: String) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    // Port 0 stands for the one that the URL names.
    let found = tokio::task::spawn_blocking(move || gds_process::resolve::resolve(&host, 0)).await;
    found.map_err(io::Error::other)?.map(Vec::into_iter)
}

type LookUp = Pin<Box<dyn Future<Output = io::Result<std::vec::IntoIter<SocketAddr>>> + Send>>;

impl Service<Name> for ForkSafeResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = LookUp;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> LookUp {
        Box::pin(look_up(name.as_str().to_owned()))
    }
}

impl reqwest::dns::Resolve for ForkSafeResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found = look_up(host).await?;
            Ok(Box::new(found) as reqwest::dns::Addrs)
        })
    }
}
