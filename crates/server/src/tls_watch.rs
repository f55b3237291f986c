//! Watching the files of TLS: when they change, or on demand, new connections get what is in them.
//!
//! A thread of its own looks at them every two seconds, without reading them; a changed file must
//! have stayed the same for one look, since a certificate and its key do not change at once. What
//! cannot be used is said once, and what was in use stays. Once a day the certificate's end is looked
//! at, and a certificate that the broker has made by itself is renewed.

use crate::clock::time_of_day;
use crate::stamp::Stamp;
use crate::tls_files::{TlsError, TlsFiles};
use noctule_net::TlsAcceptor;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often the certificate's end is looked at.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An order to read the files again at once.
#[derive(Debug)]
pub(crate) struct ReadAgain;

/// Starts watching; it ends when the sender that is returned is dropped.
///
/// # Errors
/// What the operating system says about starting a thread.
pub(crate) fn watch(files: TlsFiles, acceptor: Arc<TlsAcceptor>) -> io::Result<Sender<ReadAgain>> {
    let (orders, received) = channel();
    let stamps = files.stamps();
    let watch = Watch { files, acceptor, in_use: stamps.clone(), seen: stamps };
    thread::Builder::new().name("tls-files".to_owned()).spawn(move || watch.run(&received))?;
    Ok(orders)
}

struct Watch {
    files: TlsFiles,
    acceptor: Arc<TlsAcceptor>,
    /// The files as they were when they were read.
    in_use: Vec<Stamp>,
    /// The files at the last look.
    seen: Vec<Stamp>,
}

impl Watch {
    fn run(mut self, orders: &Receiver<ReadAgain>) {
        let mut day = Instant::now();
        loop {
            match orders.recv_timeout(LOOK) {
                Ok(ReadAgain) => self.read(),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if day.elapsed() >= DAY {
                day = Instant::now();
                self.renew();
            }
        }
    }

    fn look(&mut self) {
        let stamps = self.files.stamps();
        let is_settled = stamps == self.seen;
        self.seen = stamps;
        if is_settled && self.seen != self.in_use {
            self.read();
        }
    }

    fn read(&mut self) {
        self.in_use = self.files.stamps();
        let certificate = self.files.certificate().display();
        match self.replace() {
            Ok(()) => info!(%certificate, "TLS files read again; new connections use them"),
            // The same files are not tried again until one changes.
            Err(error) => warn!("TLS files cannot be used, those from before stay in use: {error}"),
        }
    }

    fn replace(&self) -> Result<(), TlsError> {
        let (settings, warnings) = self.files.read(time_of_day())?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        self.acceptor.replace(settings).map_err(TlsError::Settings)
    }

    fn renew(&mut self) {
        match self.files.ensure(time_of_day()) {
            Ok(Some(issued)) => info!(until = %issued.facts.not_after, "certificate renewed"),
            Ok(None) => {}
            Err(error) => warn!("the certificate cannot be renewed: {error}"),
        }
        // Reads what was renewed, and says again what ends soon.
        self.read();
    }
}
