//! The configuration while the broker runs: read again when its file changes, and what of it can be
//! taken up is handed to those whom it concerns.
//!
//! Which options those are the table says. Invariant: a configuration with a fault changes nothing, and
//! whatever is not taken up is said, one line for each option.

use crate::acl_files::AclFiles;
use crate::entrances::Rules;
use crate::gate::Gate;
use crate::log::LogQueue;
use crate::mailboxes::{Letter, Mailboxes};
use crate::message_log::SAMPLE_PER_SECOND;
use crate::options::{Config, LogMessages, Sources, changes, take_up};
use crate::run::interval;
use crate::stamp::{Stamp, stamp};
use crate::statistics::Order;
use crate::watcher::Watched;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tracing::level_filters::LevelFilter;
use tracing::{info, warn};
use tracing_subscriber::{Registry, reload};

/// Which lines are logged, to be changed while the broker runs.
#[derive(Debug)]
pub(crate) struct Level(pub(crate) reload::Handle<LevelFilter, Registry>);

impl Level {
    pub(crate) fn of(verbose: bool) -> LevelFilter {
        if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO }
    }

    fn set(&self, verbose: bool) {
        // It fails when nobody logs any more.
        let _ = self.0.reload(Self::of(verbose));
    }
}

/// How many records of messages a second are shown; all of them if `None`.
pub(crate) fn records_per_second(messages: LogMessages) -> Option<u32> {
    (messages != LogMessages::All).then_some(SAMPLE_PER_SECOND)
}

/// The configuration that is in use, and everybody who has to know when it changes.
#[derive(Debug)]
pub(crate) struct LiveConfig {
    pub(crate) config: Config,
    pub(crate) sources: Sources,
    pub(crate) open_files: u64,
    pub(crate) level: Level,
    pub(crate) log: LogQueue,
    pub(crate) statistics: Sender<Order>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) acl_files: Arc<AclFiles>,
    pub(crate) mailboxes: Arc<Mailboxes>,
}

impl Watched for LiveConfig {
    fn stamps(&self) -> Vec<Stamp> {
        self.sources.file.iter().map(|path| stamp(path)).collect()
    }

    fn read(&mut self) {
        let new = match self.sources.load() {
            Ok(loaded) => {
                for note in &loaded.notes {
                    info!("{note}");
                }
                loaded.config
            }
            Err(problems) => {
                for problem in problems.0 {
                    warn!("the configuration stays as it was: {problem}");
                }
                return;
            }
        };
        let changed = changes(&self.config, &new);
        let config = take_up(&self.config, &new);
        let rules = match self.acl_files.prepare(&config) {
            Ok(rules) => rules,
            Err(error) => return warn!("the configuration stays as it was: {error}"),
        };
        if config != self.config
            && let Err(error) = self.gate.replace(&config)
        {
            return warn!("the configuration stays as it was: {error}");
        }
        if config != self.config {
            self.acl_files.take_up(rules);
        }
        for change in &changed {
            let (what, before, after) = (&change.what, &change.before, &change.after);
            if change.is_live {
                info!("configuration: {what} is {after} now, it was {before}");
            } else {
                warn!("configuration: {what} stays {before} until a restart makes it {after}");
            }
        }
        if changed.is_empty() {
            info!("configuration read again; nothing has changed");
        }
        self.carry_out(config);
    }
}

impl LiveConfig {
    fn carry_out(&mut self, config: Config) {
        if config == self.config {
            return;
        }
        self.level.set(config.verbose);
        self.log.set_per_second(records_per_second(config.log_messages));
        if config.stats_interval != self.config.stats_interval {
            // The thread has ended if the broker is about to.
            let _ = self.statistics.send(Order::Interval(interval(config.stats_interval)));
        }
        let rules = Arc::new(Rules::of(&config, self.open_files));
        self.mailboxes.tell_all(|| Letter::Rules(Arc::clone(&rules)));
        self.config = config;
    }
}
