//! A registry with its page and the server that shows it: what the collectors of a process on one port share.
//!
//! Two collectors of a process that ask for one port get one page, if all that concerns the page and its server is the
//! same; else the setting that differs is named. Processes that share a [`Folder`] share the port too, and whichever of
//! them is asked shows the page of all. The last collector of a port stops its server by dropping it.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gds_net::{Auth, Server, ServerOptions, tls};
use gds_process::sync::Mutex;
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::http::{Page, PageHandler};
use crate::outage::LogFn;
use crate::page::{RegistryPage, process_families};
use crate::registry::{Registry, RegistryOptions};
use crate::shared::{Folder, LOOK_EVERY, PortClaim, Writer};

/// The settings of a page and its server, on which the collectors of a port agree. They are named as in Python.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageServerOptions {
    /// The address to listen on.
    pub addr: String,
    /// Certificate of the server, PEM; with `keyfile` it speaks TLS.
    pub certfile: Option<PathBuf>,
    /// Its key, PEM.
    pub keyfile: Option<PathBuf>,
    /// Authorities of clients, PEM: who has no certificate of theirs is refused.
    pub client_cafile: Option<PathBuf>,
    /// A file with the token that clients must send.
    pub bearer_token_file: Option<PathBuf>,
    /// A file with the user and password that clients must send.
    pub basic_auth_file: Option<PathBuf>,
    /// Series not updated for this long leave the page.
    pub expire_after: Option<Duration>,
    /// The folder of processes that show one page.
    pub multiprocess_dir: Option<PathBuf>,
    /// Whether the page has what the system counts of this process.
    pub process_metrics: bool,
}

/// A registry with its page `P`, and the server that shows it, if any.
pub struct PageServer<P> {
    registry: Arc<Registry>,
    page: Arc<P>,
    server: Mutex<Option<Serving>>,
    options: PageServerOptions,
}

/// A server, and where processes share its port, the claim to it.
struct Serving {
    server: Server,
    claim: Option<PortClaim>,
}

/// Ports, and what this process serves there. To be locked while a server starts, so that two collectors made at the
/// same time share one.
pub struct ServedPorts<P>(Vec<(u16, Weak<PageServer<P>>)>);

impl<P> Default for ServedPorts<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl PageServerOptions {
    /// The same, of a process that shares no folder.
    #[must_use]
    pub fn without_folder(&self) -> Self {
        Self { multiprocess_dir: None, ..self.clone() }
    }

    /// How to listen on `port`, and who may ask. Reads the files, so that bad ones are an error at once.
    pub fn listening(&self, port: u16) -> Result<(ServerOptions, Auth)> {
        let (cert, key, ca) = (self.certfile.as_deref(), self.keyfile.as_deref(), self.client_cafile.as_deref());
        let auth = match (&self.bearer_token_file, &self.basic_auth_file) {
            (Some(path), _) => Auth::bearer_file(path)?,
            (None, Some(path)) => Auth::basic_file(path)?,
            (None, None) => Auth::None,
        };
        let mut options = ServerOptions::new(self.addr.clone(), port);
        options.tls = tls::server_config(cert, key, ca)?;
        // The workers of one program show one page, so any of them may answer on its port.
        options.reuse_port = self.multiprocess_dir.is_some();
        Ok((options, auth))
    }

    fn folder(&self) -> Result<Option<Folder>> {
        self.multiprocess_dir.as_deref().map(Folder::open).transpose()
    }

    /// The setting that differs, which one port cannot serve both.
    fn conflict(&self, other: &Self) -> Option<&'static str> {
        [
            ("addr", self.addr != other.addr),
            ("certfile", self.certfile != other.certfile),
            ("keyfile", self.keyfile != other.keyfile),
            ("client_cafile", self.client_cafile != other.client_cafile),
            ("bearer_token_file", self.bearer_token_file != other.bearer_token_file),
            ("basic_auth_file", self.basic_auth_file != other.basic_auth_file),
            ("expire_after_seconds", self.expire_after != other.expire_after),
            ("multiprocess_dir", self.multiprocess_dir != other.multiprocess_dir),
            ("process_metrics", self.process_metrics != other.process_metrics),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

impl<P> ServedPorts<P> {
    /// What this process shows on `port` already, if `options` fit it.
    pub fn get(&mut self, port: u16, options: &PageServerOptions) -> Result<Option<Arc<PageServer<P>>>> {
        self.0.retain(|(_, page_server)| page_server.strong_count() > 0);
        let mut on_port = self.0.iter().filter(|(other, _)| *other == port && port != 0);
        let found = on_port.find_map(|(_, page_server)| page_server.upgrade());
        match found.as_ref().and_then(|found| options.conflict(&found.options)) {
            None => Ok(found),
            Some(name) => Err(Error::setting(
                "port",
                &port,
                format!(
                    "the same {name}= as the collector of this process that serves the port already, or another port"
                ),
            )),
        }
    }

    fn has(&mut self, port: u16) -> bool {
        self.0.retain(|(_, page_server)| page_server.strong_count() > 0);
        self.0.iter().any(|(served, _)| *served == port)
    }
}

impl<P> PageServer<P> {
    /// A registry with an empty page, which `make_page` may add to; nobody serves it yet.
    pub fn new(options: &PageServerOptions, make_page: impl FnOnce(RegistryPage) -> Arc<P>) -> Result<Arc<Self>> {
        let folder = options.folder()?;
        let writer = folder.as_ref().map(|folder| {
            let remedy = "name a folder on a local disk with room, that this program may write to";
            Writer::create(folder.path())
                .map_err(|source| Error::file("multiprocess_dir", folder.path(), remedy, source))
        });
        let registry = Registry::new(RegistryOptions {
            expire_after: options.expire_after,
            shared: writer.transpose()?.map(Arc::new),
            ..RegistryOptions::default()
        });
        let page = RegistryPage::new(Arc::clone(&registry), folder);
        // Of many processes there is no one CPU time; each would show the scraped worker's as if it were the program's.
        if options.process_metrics && options.multiprocess_dir.is_none() {
            page.add(Box::new(process_families));
        }
        Ok(Arc::new(Self { registry, page: make_page(page), server: Mutex::new(None), options: options.clone() }))
    }

    /// What is counted.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What is shown.
    pub fn page(&self) -> &Arc<P> {
        &self.page
    }

    /// The same registry and page, which nobody serves.
    #[must_use]
    pub fn unserved(&self) -> Arc<Self> {
        Arc::new(Self {
            registry: Arc::clone(&self.registry),
            page: Arc::clone(&self.page),
            server: Mutex::new(None),
            options: self.options.clone(),
        })
    }

    /// The port where it is served, if it is.
    pub fn port(&self) -> Option<u16> {
        self.server.lock().as_ref().map(|serving| serving.server.local_addr().port())
    }

    fn keep_in_place(&self, log: &LogFn) {
        let Some(writer) = self.registry.shared() else { return };
        // What fails is tried again, and said by the news.
        let _ = writer.keep_in_place();
        if let Some(claim) = self.server.lock().as_mut().and_then(|serving| serving.claim.as_mut()) {
            let _ = claim.keep_in_place();
        }
        if let Some(news) = writer.take_news() {
            log.say(&news);
        }
    }
}

impl<P: Page + 'static> PageServer<P> {
    /// Keeps what this process has in a shared folder in its place for as long as there is something, on `runtime`;
    /// `log` is told of what fails. Does nothing without a folder.
    pub fn watch_folder(self: &Arc<Self>, runtime: &Handle, log: LogFn) {
        if self.registry.shared().is_none() {
            return;
        }
        let watched = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(page_server) = watched.upgrade() else { return };
                let log = log.clone();
                // It waits for the disk, and for whoever is told.
                if tokio::task::spawn_blocking(move || page_server.keep_in_place(&log)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Starts the server, unless there is one; the port. `listening` is what [`PageServerOptions::listening`] gave.
    pub fn serve(
        self: &Arc<Self>,
        ports: &mut ServedPorts<P>,
        (options, auth): (ServerOptions, Auth),
        runtime: &Handle,
    ) -> Result<u16> {
        let mut server = self.server.lock();
        if let Some(serving) = &*server {
            return Ok(serving.server.local_addr().port());
        }
        if options.port != 0 && ports.has(options.port) {
            let expected = "a port that no other collector of this process serves; collectors share one if both are \
                            constructed with start_server=True";
            return Err(Error::setting("port", &options.port, expected));
        }
        let folder = self.options.folder()?;
        let wanted = folder.as_ref().filter(|_| options.port != 0);
        let claim = wanted.map(|folder| folder.claim_port(&options.addr, options.port)).transpose()?;
        let page = Arc::clone(&self.page) as Arc<dyn Page>;
        let started = Server::start(options, Arc::new(PageHandler { page, auth }), runtime)?;
        let port = started.local_addr().port();
        let claim = match (claim, folder) {
            (None, Some(folder)) => Some(folder.join_port(port)?),
            (claim, _) => claim,
        };
        *server = Some(Serving { server: started, claim });
        ports.0.push((port, Arc::downgrade(self)));
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::runtime::Runtime;

    use super::*;

    type Ports = ServedPorts<RegistryPage>;

    fn options() -> PageServerOptions {
        PageServerOptions { addr: "127.0.0.1".to_owned(), ..PageServerOptions::default() }
    }

    fn made(options: &PageServerOptions) -> Arc<PageServer<RegistryPage>> {
        PageServer::new(options, Arc::new).expect("made")
    }

    /// As a collector that wants `port`, and shares what is there.
    fn opened(ports: &mut Ports, port: u16, options: &PageServerOptions, runtime: &Runtime) -> Result<u16> {
        let listening = options.listening(port)?;
        let page_server = match ports.get(port, options)? {
            Some(found) => found,
            None => made(options),
        };
        let port = page_server.serve(ports, listening, runtime.handle());
        std::mem::forget(page_server); // the collector lives on
        port
    }

    #[test]
    fn collectors_of_one_port_share_a_page_if_their_settings_agree() {
        let runtime = Runtime::new().expect("a runtime");
        let mut ports = Ports::default();
        let port = opened(&mut ports, 0, &options(), &runtime).expect("served");
        assert_eq!(opened(&mut ports, port, &options(), &runtime).expect("shared"), port);
        assert_ne!(opened(&mut ports, 0, &options(), &runtime).expect("another"), port, "0 is any port");
        let dir = tempfile::tempdir().expect("a folder");
        let token = dir.path().join("token");
        std::fs::write(&token, "secret").expect("written");
        for (name, other) in [
            ("bearer_token_file", PageServerOptions { bearer_token_file: Some(token), ..options() }),
            ("expire_after_seconds", PageServerOptions { expire_after: Some(Duration::from_secs(1)), ..options() }),
            ("process_metrics", PageServerOptions { process_metrics: true, ..options() }),
            ("multiprocess_dir", PageServerOptions { multiprocess_dir: Some(dir.path().to_owned()), ..options() }),
        ] {
            let error = opened(&mut ports, port, &other, &runtime).expect_err(name).to_string();
            assert!(error.contains(&format!("the same {name}= as")) && error.contains(&port.to_string()), "{error}");
        }
    }

    #[test]
    fn a_port_is_free_again_when_its_last_collector_is_gone() {
        let runtime = Runtime::new().expect("a runtime");
        let mut ports = Ports::default();
        let first = made(&options());
        let listening = |port| options().listening(port).expect("sound");
        let port = first.serve(&mut ports, listening(0), runtime.handle()).expect("served");
        assert_eq!(first.serve(&mut ports, listening(0), runtime.handle()).expect("served already"), port);
        let other = made(&options());
        let error = other.serve(&mut ports, listening(port), runtime.handle()).expect_err("taken").to_string();
        assert!(error.contains("no other collector of this process serves"), "{error}");
        let unserved = first.unserved();
        assert!(Arc::ptr_eq(unserved.registry(), first.registry()) && unserved.port().is_none());
        drop(first);
        assert!(ports.get(port, &options()).expect("sound").is_none());
        assert_eq!(other.serve(&mut ports, listening(port), runtime.handle()).expect("free"), port);
        drop((other, ports));
        drop(TcpListener::bind(("127.0.0.1", port)).expect("nobody listens"));
    }
}
