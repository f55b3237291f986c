//! Files of rules in use: read at the start, and again when they change, and handed to the loops as what
//! decides there what clients may do.
//!
//! ```text
//! start ──read──► in use ──a file changes, SIGHUP──► read again ──good──► in use, told to all loops
//!                    ▲                                   │
//!                    └──────── said loudly ◄────broken───┘
//! ```
//!
//! Without good rules nothing starts; once started, rules that cannot be read change nothing. What
//! rules mean must not be known here.

use crate::mailboxes::{Letter, Mailboxes};
use crate::options::{Config, DeniedWill};
use crate::run::StartError;
use crate::stamp::{Stamp, stamp};
use crate::watcher::Watched;
use noctule_acl::{AclError, AclFile, Rules};
use noctule_broker::{EntrancePolicy, Policies, Policy, Who, Wish, Word};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{error, info, warn};

/// Rules that a shard can ask.
#[derive(Debug)]
pub(crate) struct Judge(pub(crate) Rules);

impl Policy for Judge {
    fn decide(&self, who: Who<'_>, wish: Wish<'_>) -> Word {
        self.0.decide(who, wish).word
    }

    fn explain(&self, who: Who<'_>, wish: Wish<'_>) -> String {
        self.0.decide(who, wish).explain(&self.0)
    }
}

/// The files of rules that a configuration names, and what is in them.
#[derive(Debug)]
pub(crate) struct AclFiles {
    in_use: Mutex<InUse>,
    mailboxes: Arc<Mailboxes>,
}

/// What a configuration says of rules, with the rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    listeners: Vec<Listener>,
    check_retain_source: bool,
    refuse_denied_wills: bool,
    judges: BTreeMap<PathBuf, Arc<Judge>>,
}

/// What a listener says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listener {
    file: Option<PathBuf>,
    shadow: bool,
    /// Whether its clients may bring rights with them.
    grants: bool,
    /// Whether nobody has to prove there who it is, so that names are only claimed.
    asks_nobody: bool,
    trusts_claimed_names: bool,
}

impl AclFiles {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// [`StartError`] if one cannot be used.
    pub(crate) fn open(config: &Config, mailboxes: &Arc<Mailboxes>) -> Result<Self, StartError> {
        let in_use = InUse::read(config, &BTreeMap::new())?;
        in_use.say();
        Ok(Self { in_use: Mutex::new(in_use), mailboxes: Arc::clone(mailboxes) })
    }

    /// Whether no file is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_use().judges.is_empty()
    }

    /// What decides at each listener.
    pub(crate) fn policies(&self) -> Policies {
        self.in_use().policies()
    }

    /// What another configuration would have in use. Files that are in use already are not read.
    ///
    /// # Errors
    /// [`StartError`] if a file cannot be used.
    pub(crate) fn prepare(&self, config: &Config) -> Result<InUse, StartError> {
        InUse::read(config, &self.in_use().judges)
    }

    /// Uses what was prepared from now on.
    pub(crate) fn take_up(&self, prepared: InUse) {
        prepared.say();
        *self.in_use() = prepared;
        self.tell();
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let policies = Arc::new(self.policies());
        self.mailboxes.tell_all(|| Letter::Policies(Arc::clone(&policies)));
    }

    /// Reads all files again. Those that cannot be used stay as they were.
    fn read_again(&self) {
        let paths: Vec<PathBuf> = self.in_use().judges.keys().cloned().collect();
        for path in &paths {
            match read(path) {
                Ok(judge) => {
                    info!(path = %path.display(), rules = judge.0.len(), "file of rules read again; they hold from now on");
                    self.in_use().judges.insert(path.clone(), judge);
                }
                Err(broken) => {
                    for line in broken.lines() {
                        error!("{line}");
                    }
                    error!(
                        path = %path.display(),
                        "the changed file of rules CANNOT BE USED: what clients may do stays as it was before"
                    );
                }
            }
        }
        if !paths.is_empty() {
            self.tell();
        }
    }
}

impl InUse {
    fn read(config: &Config, known: &BTreeMap<PathBuf, Arc<Judge>>) -> Result<Self, StartError> {
        let mut in_use = Self {
            check_retain_source: config.acl_check_retain_source,
            refuse_denied_wills: config.acl_denied_will == DeniedWill::Refuse,
            ..Self::default()
        };
        for listener in config.all_listeners() {
            let config = &listener.config;
            let file = config.acl_file.get().cloned();
            if let Some(path) = &file
                && !in_use.judges.contains_key(path)
            {
                let judge = match known.get(path) {
                    Some(judge) => Arc::clone(judge),
                    None => read(path).map_err(|error| StartError::Rules(error).of(&listener))?,
                };
                in_use.judges.insert(path.clone(), judge);
            }
            let has_tokens = config.jwt_keys.get().is_some();
            in_use.listeners.push(Listener {
                file,
                shadow: config.acl_shadow,
                grants: has_tokens && !config.jwt_acl_claim.is_empty(),
                asks_nobody: !has_tokens
                    && config.password_file.get().is_none()
                    && config.http_auth_url.is_empty(),
                trusts_claimed_names: config.acl_trust_claimed_names,
            });
        }
        Ok(in_use)
    }

    fn policies(&self) -> Policies {
        let entrance = |listener: &Listener| {
            let judge = listener.file.as_ref().and_then(|path| self.judges.get(path));
            let policy = judge.map(|judge| Arc::clone(judge) as Arc<dyn Policy>);
            let Listener { shadow, trusts_claimed_names, .. } = *listener;
            EntrancePolicy { policy, shadow, trusts_claimed_names }
        };
        Policies {
            entrances: self.listeners.iter().map(entrance).collect(),
            check_retain_source: self.check_retain_source,
            refuse_denied_wills: self.refuse_denied_wills,
            grants: self.listeners.iter().any(|listener| listener.grants),
        }
    }

    /// Says what the operator should know of it.
    fn say(&self) {
        for listener in &self.listeners {
            if let Some(path) = listener.file.as_ref().filter(|_| listener.shadow) {
                warn!(
                    path = %path.display(),
                    "acl_shadow: what the rules deny is only logged, and nothing is denied"
                );
            }
        }
        for (trusts, words) in [
            (
                true,
                "acl_trust_claimed_names: rules for users hold for whoever says that name, as nobody is \
                 asked for a proof of it: name a password_file",
            ),
            (
                false,
                "rules for users hold for nobody who is not asked for a proof of its name: name a \
                 password_file, or let anybody be believed with acl_trust_claimed_names",
            ),
        ] {
            let mut meant = self
                .listeners
                .iter()
                .filter(|one| one.asks_nobody && one.trusts_claimed_names == trusts)
                .filter_map(|one| one.file.as_ref());
            let names_users =
                |path: &&PathBuf| self.judges.get(*path).is_some_and(|judge| judge.0.names_users());
            if let Some(path) = meant.find(names_users) {
                warn!(path = %path.display(), "{words}");
            }
        }
    }
}

/// Reads a file, and says what may not be meant in it.
fn read(path: &Path) -> Result<Arc<Judge>, AclError> {
    let AclFile { rules, warnings } = AclFile::read(path)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(Arc::new(Judge(rules)))
}

/// The files, watched.
#[derive(Debug)]
pub(crate) struct AclWatch(pub(crate) Arc<AclFiles>);

impl Watched for AclWatch {
    fn stamps(&self) -> Vec<Stamp> {
        self.0.in_use().judges.keys().map(|path| stamp(path)).collect()
    }

    fn read(&mut self) {
        self.0.read_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Optional;
    use mio::{Poll, Token, Waker};
    use noctule_mqtt::TopicName;
    use std::fs;

    /// A file of rules, removed at the end.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("noctule-acl-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn config(&self) -> Config {
            Config { acl_file: Optional::Set(self.0.clone()), ..Config::default() }
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn mailboxes() -> Arc<Mailboxes> {
        let poll = Poll::new().unwrap();
        Arc::new(Mailboxes::new(vec![Waker::new(poll.registry(), Token(0)).unwrap()]))
    }

    fn reads(policies: &Policies, topic: &str) -> Word {
        let who = Who { client_id: "c", user_name: None };
        let policy = policies.entrances[0].policy.as_ref().unwrap();
        policy.decide(who, Wish::Read(TopicName::new(topic).unwrap()))
    }

    #[test]
    fn a_broken_file_does_not_start_and_later_changes_nothing() {
        let file = File::new("broken", "topic read a\nnonsense\n");
        let error = AclFiles::open(&file.config(), &mailboxes()).unwrap_err().to_string();
        assert!(error.contains("broken:2: expected a line"), "{error}");
        fs::write(&file.0, "# nothing\n").unwrap();
        let error = AclFiles::open(&file.config(), &mailboxes()).unwrap_err().to_string();
        assert!(error.contains("has no rules"), "{error}");
        fs::write(&file.0, "topic read a\n").unwrap();
        let files = AclFiles::open(&file.config(), &mailboxes()).unwrap();
        for broken in ["", "topic reed a\n", "topic read a/#/b\n"] {
            fs::write(&file.0, broken).unwrap();
            files.read_again();
            assert_eq!(reads(&files.policies(), "a"), Word::Allowed, "{broken:?}");
        }
        fs::remove_file(&file.0).unwrap();
        files.read_again();
        assert_eq!(reads(&files.policies(), "a"), Word::Allowed, "it is gone");
        fs::write(&file.0, "topic read b\n").unwrap();
        files.read_again();
        assert_eq!(reads(&files.policies(), "a"), Word::Unspoken);
        assert_eq!(reads(&files.policies(), "b"), Word::Allowed);
    }

    #[test]
    fn a_configuration_with_a_broken_file_is_not_prepared() {
        let (good, bad) = (File::new("good", "topic a\n"), File::new("bad", "tpic a\n"));
        let files = AclFiles::open(&good.config(), &mailboxes()).unwrap();
        assert!(files.prepare(&bad.config()).is_err());
        let none = files.prepare(&Config::default()).unwrap();
        files.take_up(none);
        assert!(files.policies().entrances[0].policy.is_none());
    }
}
