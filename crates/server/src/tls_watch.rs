//! The files of TLS while the broker runs: new connections get what is in them when they change.
//!
//! What cannot be used is said once, and what was in use stays. Once a day the certificate's end is
//! looked at, and a certificate that the broker has made by itself is renewed.

use crate::clock::time_of_day;
use crate::stamp::Stamp;
use crate::tls_files::{TlsError, TlsFiles};
use crate::watcher::Watched;
use noctule_net::TlsAcceptor;
use std::sync::Arc;
use tracing::{info, warn};

/// Files of TLS, and who uses them.
#[derive(Debug)]
pub(crate) struct TlsWatch {
    pub(crate) files: TlsFiles,
    pub(crate) acceptor: Arc<TlsAcceptor>,
}

impl Watched for TlsWatch {
    fn stamps(&self) -> Vec<Stamp> {
        self.files.stamps()
    }

    fn read(&mut self) {
        let certificate = self.files.certificate().display();
        match self.replace() {
            Ok(()) => info!(%certificate, "TLS files read again; new connections use them"),
            Err(error) => warn!("TLS files cannot be used, those from before stay in use: {error}"),
        }
    }

    fn day(&mut self) {
        match self.files.ensure(time_of_day()) {
            Ok(Some(issued)) => info!(until = %issued.facts.not_after, "certificate renewed"),
            Ok(None) => {}
            Err(error) => warn!("the certificate cannot be renewed: {error}"),
        }
        // Reads what was renewed, and says again what ends soon.
        self.read();
    }
}

impl TlsWatch {
    fn replace(&self) -> Result<(), TlsError> {
        let (settings, warnings) = self.files.read(time_of_day())?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        self.acceptor.replace(settings).map_err(TlsError::Settings)
    }
}
