//! A supply of segments in a thread of its own: one is always ready, or being made.
//!
//! It also looks after the free space, since making a segment is what takes it. A full disk stops
//! nothing that has its place already; it is said in time, so that nothing new is begun.

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::store::{Answer, Shared};
use crate::supply::{Segment, Supply, SupplyLine};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the free space is looked at, and making a segment is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Order<F> {
    /// A segment that can hold so many bytes.
    Prepare(u32),
    Retire(Segment<F>),
}

/// The log's end of the line.
#[derive(Debug)]
pub(crate) struct SupplyThread<F> {
    ready: Receiver<Result<Segment<F>, StoreError>>,
    /// None when it is to end.
    orders: Option<Sender<Order<F>>>,
    thread: Option<JoinHandle<()>>,
}

impl<F> Drop for SupplyThread<F> {
    fn drop(&mut self) {
        // It holds the directory; when the store is closed, others may open it.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<F: DiskFile + Debug> SupplyThread<F> {
    /// Starts a thread that owns `supply`. It ends with the line.
    pub(crate) fn start<D: Disk<File = F>>(
        supply: Supply<D>,
        disk: Arc<D>,
        shared: Arc<Shared>,
    ) -> Result<Self, StoreError> {
        let (orders, received) = channel();
        let (sender, ready) = channel();
        let worker = Worker { supply, disk, shared, ready: sender, wanted: None };
        let thread = thread::Builder::new()
            .name("store-supply".into())
            .spawn(move || worker.run(&received))
            .map_err(StoreError::io("start a thread for", "the supply of segments"))?;
        let line = Self { ready, orders: Some(orders), thread: Some(thread) };
        line.order(Order::Prepare(0))?;
        Ok(line)
    }

    fn order(&self, order: Order<F>) -> Result<(), StoreError> {
        let sent = self.orders.as_ref().and_then(|orders| orders.send(order).ok());
        sent.ok_or(StoreError::Stopped)
    }

    fn receive(&self) -> Result<Segment<F>, StoreError> {
        self.ready.recv().map_err(|_| StoreError::Stopped)?
    }
}

impl<F: DiskFile + Debug> SupplyLine<F> for SupplyThread<F> {
    fn take(&mut self, bytes: u32) -> Result<Segment<F>, StoreError> {
        let mut segment = self.receive()?;
        if segment.capacity < bytes {
            self.order(Order::Retire(segment))?;
            self.order(Order::Prepare(bytes))?;
            segment = self.receive()?;
        }
        self.order(Order::Prepare(0))?;
        Ok(segment)
    }

    fn retire(&mut self, segment: Segment<F>) -> Result<(), StoreError> {
        self.order(Order::Retire(segment))
    }
}

struct Worker<D: Disk> {
    supply: Supply<D>,
    disk: Arc<D>,
    shared: Arc<Shared>,
    ready: Sender<Result<Segment<D::File>, StoreError>>,
    /// A segment that could not be made yet.
    wanted: Option<u32>,
}

impl<D: Disk> Worker<D> {
    fn run(mut self, orders: &Receiver<Order<D::File>>) {
        self.look_at_space();
        loop {
            match orders.recv_timeout(LOOK_EVERY) {
                Ok(Order::Prepare(bytes)) => self.wanted = Some(bytes),
                Ok(Order::Retire(segment)) => {
                    if let Err(error) = self.supply.retire(segment) {
                        let _ = self.ready.send(Err(error));
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.look_at_space(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.prepare() {
                return;
            }
        }
    }

    /// Makes a segment if one is wanted. False if nobody wants any more, or none can be made.
    fn prepare(&mut self) -> bool {
        let Some(bytes) = self.wanted else {
            return true;
        };
        let prepared = self.supply.prepare(bytes);
        match &prepared {
            // There may be room again, or a segment be given up; but nobody waits for that at the end.
            Err(error) if error.is_out_of_space() && !self.shared.is_closing() => {
                self.look_at_space();
                return true;
            }
            _ => self.wanted = None,
        }
        let fine = prepared.is_ok();
        self.look_at_space();
        self.ready.send(prepared).is_ok() && fine
    }

    fn look_at_space(&self) {
        // A disk that does not tell has to say so when it is written to.
        let Ok(free) = self.disk.free_bytes() else {
            return;
        };
        let least = self.shared.free_bytes_min;
        let before = self.shared.enough_space.load(Ordering::Relaxed);
        let least = if before { least } else { least.saturating_add(least / 4) };
        let enough = free >= least && self.wanted.is_none();
        // Making the next segment is on its way most of the time; only without room it counts.
        let enough = enough || (before && free >= least);
        if enough != before {
            self.shared.enough_space.store(enough, Ordering::Relaxed);
            (self.shared.answers)(Answer::Space { enough, free_bytes: free });
        }
    }
}
