//! Brokers that can be named instead of described: how each is started, and with what configuration.
//!
//! To add one, add its row in [`PROFILES`].

use std::path::{Path, PathBuf};

use super::victim::{Launch, SHARDS};
use crate::LoadError;

/// A broker by name.
#[derive(Debug)]
pub struct Profile {
    /// What the command line calls it.
    pub name: &'static str,
    /// In a list.
    pub about: &'static str,
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Our own broker with these options.
    Noctule(&'static [&'static str]),
    /// Mosquitto with persistence and these lines of configuration.
    Mosquitto(&'static str),
}

/// What a profile is to add to a broker's command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Clients come over TLS.
    pub over_tls: bool,
    /// Its number of loops is to be that of `{shards}`.
    pub shards: bool,
}

/// Where our broker leaves the certificate of the CA that it makes.
pub const OWN_CA: &str = "{data}/tls/ca.pem";

/// All of them.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "noctule",
        about: "this program's broker as it comes: acknowledged means stored",
        how: How::Noctule(&[]),
    },
    Profile {
        name: "noctule-interval",
        about: "the same with --durability interval: flushed at the interval",
        how: How::Noctule(&["--durability", "interval"]),
    },
    Profile {
        name: "noctule-never",
        about: "the same with --durability never: left to the operating system",
        how: How::Noctule(&["--durability", "never"]),
    },
    Profile {
        name: "noctule-in-memory",
        about: "the same with --in-memory: nothing is kept, everything is lost",
        how: How::Noctule(&["--in-memory"]),
    },
    Profile {
        name: "mosquitto",
        about: "mosquitto, persistence true and its defaults: saved every 30 minutes",
        how: How::Mosquitto(""),
    },
    Profile {
        name: "mosquitto-autosave",
        about: "mosquitto, saved every second (autosave_interval 1)",
        how: How::Mosquitto("autosave_interval 1\n"),
    },
    Profile {
        name: "mosquitto-every-change",
        about: "mosquitto, saved after every change (autosave_on_changes true, autosave_interval 1)",
        how: How::Mosquitto("autosave_on_changes true\nautosave_interval 1\n"),
    },
];

impl Profile {
    /// The one of this name.
    ///
    /// # Errors
    /// If there is none, with all names.
    pub fn named(name: &str) -> Result<&'static Self, LoadError> {
        PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| {
            let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
            LoadError::new(format!("no profile '{name}'; there are {}", names.join(", ")))
        })
    }

    /// How it is started: `noctule` is our own program, `options` are further ones of the broker.
    ///
    /// # Errors
    /// If there is no such broker on this machine, or it cannot do what is asked for.
    pub fn launch(
        &self,
        noctule: &Path,
        options: &[String],
        asked: Asked,
    ) -> Result<Launch, LoadError> {
        let (mut words, config) = match self.how {
            How::Noctule(more) => {
                let begin = [&noctule.to_string_lossy(), "broker", "--port", "0"];
                let tls = if asked.over_tls { &["--tls-port", "0"][..] } else { &["--no-tls"] };
                let data = ["--data-dir", "{data}"];
                let shards = if asked.shards { &["--shards", SHARDS][..] } else { &[] };
                let words = begin.iter().chain(tls).chain(&data).chain(more).chain(shards);
                (words.map(|word| String::from(*word)).collect::<Vec<_>>(), None)
            }
            How::Mosquitto(_) if asked != Asked::default() => {
                let name = self.name;
                let words = format!("the profile {name} knows neither TLS nor --shards");
                return Err(LoadError::new(words));
            }
            How::Mosquitto(more) => {
                let program = mosquitto()?;
                let words = [&program.to_string_lossy(), "-c", "{config}"].map(String::from);
                (words.into(), Some(format!("{MOSQUITTO_CONF}{more}")))
            }
        };
        words.extend_from_slice(options);
        let trusted = asked.over_tls.then(|| OWN_CA.into());
        Ok(Launch { words, config, trusted, ..Launch::default() })
    }
}

/// Two limits are lifted that have nothing to do with crashes: mosquitto drops what it has
/// acknowledged when a thousand messages are queued, and hangs up on publishers with more than twenty
/// messages in flight, who cannot know that before MQTT 5. And when root starts it, it goes on as root:
/// as the user `mosquitto` it could not write its file into a directory that is ours.
const MOSQUITTO_CONF: &str = "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n\
                              max_queued_messages 0\nmax_inflight_messages 1000\n\
                              persistence true\npersistence_location {data}/\n";

fn mosquitto() -> Result<PathBuf, LoadError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join("mosquitto"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| LoadError::new("no mosquitto here; install it, or name another profile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_a_command_with_placeholders_and_further_options() {
        let line = |asked| {
            let options = ["--port".into(), "9".into()];
            let profile = Profile::named("noctule-never").unwrap();
            let launch = profile.launch(Path::new("bat"), &options, asked).unwrap();
            (launch.words.join(" "), launch.trusted)
        };
        let expected = "bat broker --port 0 --no-tls --data-dir {data} --durability never --port 9";
        assert_eq!(line(Asked::default()), (expected.into(), None));
        let expected = "bat broker --port 0 --tls-port 0 --data-dir {data} --durability never \
                        --shards {shards} --port 9";
        let both = Asked { over_tls: true, shards: true };
        assert_eq!(line(both), (expected.into(), Some("{data}/tls/ca.pem".into())));
    }

    #[test]
    fn a_profile_does_not_pretend_to_have_what_it_has_not() {
        let profile = Profile::named("mosquitto").unwrap();
        let asked = Asked { over_tls: true, shards: false };
        let error = profile.launch(Path::new("bat"), &[], asked).unwrap_err().to_string();
        assert!(error.contains("neither TLS nor --shards"), "{error}");
    }

    #[test]
    fn an_unknown_profile_is_told_which_there_are() {
        let error = Profile::named("mosqito").unwrap_err().to_string();
        assert!(error.contains("'mosqito'") && error.contains("mosquitto-autosave"), "{error}");
    }
}
