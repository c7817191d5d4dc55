//! A page that somebody asked for: whatever concerns Python happens before and after it is written, never meanwhile.

use std::sync::Arc;

use gds_metrics::Error;
use gds_metrics::format::Format;
use gds_metrics::http::Page;
use gds_metrics::page::RegistryPage;
use gds_metrics::registry::Registry;

use crate::observe::log_warning;
use crate::runtime;

/// The page of a registry, as its readers get it.
pub(crate) struct Scraped {
    pub(crate) page: RegistryPage,
}

impl Scraped {
    pub(crate) fn new(page: RegistryPage) -> Arc<Self> {
        Arc::new(Self { page })
    }

    /// Writes the page. Called without the interpreter.
    pub(crate) fn write(&self, format: Format, names: &[String]) -> Result<Vec<u8>, Error> {
        let written = self.page.write(format, names);
        tell_later(self.page.registry());
        written
    }
}

impl Page for Scraped {
    fn render(&self, format: Format, names: &[String]) -> Result<Vec<u8>, Error> {
        self.write(format, names)
    }
}

/// Says in the log what a registry has to say, by another thread: the interpreter may be busy for long, and whoever reads
/// the page does not wait for it.
fn tell_later(registry: &Registry) {
    let warnings = registry.take_warnings();
    if let (false, Ok(runtime)) = (warnings.is_empty(), runtime::handle()) {
        runtime.spawn_blocking(move || warnings.iter().for_each(|warning| log_warning(warning)));
    }
}
