//! What the collectors of this process on one port share: a page of `gds_metrics` with the interpreter's part in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gds_metrics::Error;
use gds_metrics::outage::LogFn;
use gds_metrics::page_server::{self, PageServerOptions};
use gds_metrics::settings::ViewOptions;
use gds_process::PerProcess;
use gds_process::sync::{Mutex, MutexGuard};

use crate::interop::dicts::from_dict;
use crate::interop::runtime;
use crate::interop::warnings::log_warning;
use crate::metrics::python_metrics;
use crate::metrics::scrape::ScrapedPage;

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

pub(crate) type PageServer = page_server::PageServer<ScrapedPage>;
pub(crate) type ServedPorts = page_server::ServedPorts<ScrapedPage>;

static SERVED: PerProcess<Mutex<ServedPorts>> = PerProcess::new();

/// What this process serves.
pub(crate) fn served() -> MutexGuard<'static, ServedPorts> {
    SERVED.get_or_init(Mutex::default).lock()
}

impl Settings {
    pub(crate) fn page_server(&self) -> PageServerOptions {
        PageServerOptions {
            addr: self.addr.clone(),
            certfile: self.certfile.clone(),
            keyfile: self.keyfile.clone(),
            client_cafile: self.client_cafile.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            basic_auth_file: self.basic_auth_file.clone(),
            expire_after: self.expire_after_seconds.map(Duration::from_secs_f64),
            multiprocess_dir: self.multiprocess_dir.clone(),
            process_metrics: self.process_metrics,
        }
    }

    pub(crate) fn view(&self) -> ViewOptions {
        let mut options = ViewOptions::default();
        options.prefix.clone_from(&self.prefix);
        options.buckets = Arc::from(self.buckets.as_slice());
        options.max_series = self.max_series;
        options
    }
}

/// A registry with a page that nobody serves yet.
pub(crate) fn new(options: &PageServerOptions) -> Result<Arc<PageServer>, Error> {
    let page_server = PageServer::new(options, |page| {
        if options.process_metrics && options.multiprocess_dir.is_none() {
            page.add(Box::new(python_metrics::families));
        }
        ScrapedPage::new(page)
    })?;
    // Without a runtime the page still sees to its folder when it is asked for.
    if options.multiprocess_dir.is_some()
        && let Ok(runtime) = runtime::handle()
    {
        page_server.watch_folder(&runtime, LogFn::new(log_warning));
    }
    Ok(page_server)
}
