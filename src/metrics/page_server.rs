//! A registry with its page and its server: what collectors of a process on one port share.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gds_metrics::Error;
use gds_metrics::http::{Page, PageHandler};
use gds_metrics::page::{self, RegistryPage};
use gds_metrics::registry::{Registry, RegistryOptions};
use gds_metrics::settings::ViewOptions;
use gds_metrics::shared::{Folder, LOOK_EVERY, PortClaim, Writer};
use gds_net::{Auth, Server, ServerOptions, tls};
use gds_process::PerProcess;
use gds_process::sync::{Mutex, MutexGuard};

use crate::interop::dicts::from_dict;
use crate::interop::runtime;
use crate::interop::warnings::log_warning;
use crate::metrics::python_metrics;
use crate::metrics::scrape::Scraped;

from_dict! {
    /// Everything a collector was constructed with, so that a forked child can make its own from it.
    #[derive(Clone)]
    pub(crate) struct Settings {
        prefix: String,
        pub(crate) port: u16,
        addr: String,
        certfile: Option<PathBuf>,
        keyfile: Option<PathBuf>,
        client_cafile: Option<PathBuf>,
        bearer_token_file: Option<PathBuf>,
        basic_auth_file: Option<PathBuf>,
        buckets: Vec<f64>,
        max_series: usize,
        expire_after_seconds: Option<f64>,
        pub(crate) multiprocess_dir: Option<PathBuf>,
        pub(crate) exemplars: bool,
        pub(crate) process_metrics: bool,
    }
}

/// A registry with its page, and the server that shows it, if any. Collectors on one port share it.
pub(crate) struct PageServer {
    pub(crate) registry: Arc<Registry>,
    pub(crate) page: Arc<Scraped>,
    server: Mutex<Option<Serving>>,
    settings: Settings,
}

/// A server, and where processes share its port, the claim to it.
struct Serving {
    server: Server,
    claim: Option<PortClaim>,
}

/// Ports with what is served there.
pub(crate) type Ports = Vec<(u16, Weak<PageServer>)>;

/// What is served on which port by this process. Held while a server starts, so that two collectors made at the same
/// time share one.
static SERVED: PerProcess<Mutex<Ports>> = PerProcess::new();

pub(crate) fn served() -> MutexGuard<'static, Ports> {
    let mut ports = SERVED.get_or_init(Mutex::default).lock();
    ports.retain(|(_, shown)| shown.strong_count() > 0);
    ports
}

impl Settings {
    /// The same, of a process that shares no folder.
    pub(crate) fn without_folder(&self) -> Self {
        Self { multiprocess_dir: None, ..self.clone() }
    }

    fn folder(&self) -> Result<Option<Folder>, Error> {
        self.multiprocess_dir.as_deref().map(Folder::open).transpose()
    }

    pub(crate) fn server_options(&self, port: u16) -> Result<(ServerOptions, Auth), Error> {
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

    pub(crate) fn view(&self) -> ViewOptions {
        let mut options = ViewOptions::default();
        options.prefix.clone_from(&self.prefix);
        options.buckets = Arc::from(self.buckets.as_slice());
        options.max_series = self.max_series;
        options
    }

    /// The settings of the page and its server that differ, which one port cannot serve both.
    fn conflict(&self, other: &Self) -> Option<&'static str> {
        [
            ("addr", self.addr != other.addr),
            ("certfile", self.certfile != other.certfile),
            ("keyfile", self.keyfile != other.keyfile),
            ("client_cafile", self.client_cafile != other.client_cafile),
            ("bearer_token_file", self.bearer_token_file != other.bearer_token_file),
            ("basic_auth_file", self.basic_auth_file != other.basic_auth_file),
            ("expire_after_seconds", self.expire_after_seconds != other.expire_after_seconds),
            ("multiprocess_dir", self.multiprocess_dir != other.multiprocess_dir),
            ("process_metrics", self.process_metrics != other.process_metrics),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

impl PageServer {
    pub(crate) fn new(settings: &Settings) -> Result<Arc<Self>, Error> {
        let folder = settings.folder()?;
        let writer = folder.as_ref().map(|folder| {
            let remedy = "name a folder on a local disk with room, that this program may write to";
            Writer::create(folder.path())
                .map_err(|source| Error::file("multiprocess_dir", folder.path(), remedy, source))
        });
        let registry = Registry::new(RegistryOptions {
            expire_after: settings.expire_after_seconds.map(Duration::from_secs_f64),
            shared: writer.transpose()?.map(Arc::new),
            ..RegistryOptions::default()
        });
        let page = RegistryPage::new(Arc::clone(&registry), folder);
        // Of many processes there is no one CPU time; each would show the scraped worker's as if it were the program's.
        if settings.process_metrics && settings.multiprocess_dir.is_none() {
            page.add(Box::new(page::process_families));
            page.add(Box::new(python_metrics::families));
        }
        let page = Scraped::new(page);
        let shown = Arc::new(Self { registry, page, server: Mutex::new(None), settings: settings.clone() });
        shown.watch_folder();
        Ok(shown)
    }

    /// Keeps what this process has in a shared folder in its place, as long as there is something.
    fn watch_folder(self: &Arc<Self>) {
        // Without a runtime the page still sees to it when it is asked for.
        let Some(runtime) = self.registry.shared().and_then(|_| runtime::handle().ok()) else { return };
        let shown = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(shown) = shown.upgrade() else { return };
                // It waits for the disk, and for the interpreter where there is something to say.
                if tokio::task::spawn_blocking(move || shown.keep_in_place()).await.is_err() {
                    return;
                }
            }
        });
    }

    fn keep_in_place(&self) {
        let Some(writer) = self.registry.shared() else { return };
        // What fails is tried again, and said by the news.
        let _ = writer.keep_in_place();
        if let Some(claim) = self.server.lock().as_mut().and_then(|serving| serving.claim.as_mut()) {
            let _ = claim.keep_in_place();
        }
        if let Some(news) = writer.take_news() {
            log_warning(&news);
        }
    }

    /// What this process shows on `port` already, if `settings` fit it.
    pub(crate) fn served(ports: &Ports, settings: &Settings, port: u16) -> Result<Option<Arc<Self>>, Error> {
        let mut on_port = ports.iter().filter(|(other, _)| *other == port && port != 0);
        let shown = on_port.find_map(|(_, shown)| shown.upgrade());
        match shown.as_ref().and_then(|shown| settings.conflict(&shown.settings)) {
            None => Ok(shown),
            Some(name) => Err(Error::setting(
                "port",
                &port,
                format!(
                    "the same {name}= as the collector of this process that serves the port already, or another port"
                ),
            )),
        }
    }

    /// Where it is served, if it is.
    pub(crate) fn port(&self) -> Option<u16> {
        self.server.lock().as_ref().map(|serving| serving.server.local_addr().port())
    }

    /// The same registry and page, which nobody serves.
    pub(crate) fn silent(&self, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            registry: Arc::clone(&self.registry),
            page: Arc::clone(&self.page),
            server: Mutex::new(None),
            settings: settings.clone(),
        })
    }

    pub(crate) fn serve(
        self: &Arc<Self>,
        ports: &mut Ports,
        (options, auth): (ServerOptions, Auth),
        runtime: &tokio::runtime::Handle,
    ) -> Result<u16, Error> {
        let mut server = self.server.lock();
        if let Some(serving) = &*server {
            return Ok(serving.server.local_addr().port());
        }
        if options.port != 0 && ports.iter().any(|(port, _)| *port == options.port) {
            let expected = "a port that no other collector of this process serves; collectors share one if both are \
                            constructed with start_server=True";
            return Err(Error::setting("port", &options.port, expected));
        }
        let folder = self.settings.folder()?;
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
        ports.push((port, Arc::downgrade(self)));
        Ok(port)
    }
}
