//! Options that are one of a few words.
//!
//! What a word leads to must not live here. Invariant: a choice knows exactly the words that it
//! lists in its messages and in the manual.

use super::value::{Given, Mismatch, Range, Value};

/// Declares a choice: its variants, the word for each, and their reading and writing.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident, $placeholder:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl Value for $name {
            const PLACEHOLDER: &'static str = $placeholder;

            fn read(given: &Given) -> Result<Self, Mismatch> {
                match given.text() {
                    $( Some($word) => Ok(Self::$variant), )+
                    _ => Err(Mismatch::default()),
                }
            }

            fn to_toml(&self) -> String {
                match self {
                    $( Self::$variant => concat!("\"", $word, "\"").to_owned(), )+
                }
            }

            fn describe(_: Range) -> String {
                either(&[$($word),+])
            }
        }
    };
}

choice! {
    /// Who is greeted with `HELLO` after CONNACK.
    Hello, "waiting|always|never" {
        /// Clients that subscribe to their greeting, and silent 3.x clients after one second.
        Waiting = "waiting",
        /// Everybody, right after CONNACK.
        Always = "always",
        /// Nobody.
        Never = "never",
    }
}

choice! {
    /// Which of the messages that pass are shown.
    LogMessages, "sample|all|none" {
        /// At most 20 a second, and how many were not.
        Sample = "sample",
        /// Each.
        All = "all",
        /// None.
        None = "none",
    }
}

choice! {
    /// When a message counts as stored, so that it may be acknowledged.
    Durability, "always|interval|never" {
        /// When it is on stable storage.
        Always = "always",
        /// When the operating system has it, which is flushed at an interval.
        Interval = "interval",
        /// When the operating system has it.
        Never = "never",
    }
}

choice! {
    /// How the lines of the log look.
    LogFormat, "text|json" {
        /// For people.
        Text = "text",
        /// A JSON object in each line.
        Json = "json",
    }
}

choice! {
    /// Whether clients of the TLS port have to show a certificate.
    ClientAuth, "required|optional" {
        /// Who shows none is refused.
        Required = "required",
        /// Who shows one must show a valid one.
        Optional = "optional",
    }
}

choice! {
    /// How a question about a client is written.
    HttpAuthFormat, "json|form" {
        /// A JSON object.
        Json = "json",
        /// A form.
        Form = "form",
    }
}

choice! {
    /// What is spoken under MQTT at a listener.
    Transport, "tcp|tls|ws|wss" {
        /// TCP without encryption.
        Tcp = "tcp",
        /// TLS over TCP.
        Tls = "tls",
        /// WebSocket without encryption.
        Ws = "ws",
        /// WebSocket over TLS.
        Wss = "wss",
    }
}

impl Transport {
    /// Whether it is encrypted.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it is WebSocket.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

choice! {
    /// A version of TLS.
    TlsVersion, "1.2|1.3" {
        /// TLS 1.2, of 2008.
        V12 = "1.2",
        /// TLS 1.3, of 2018.
        V13 = "1.3",
    }
}

choice! {
    /// Which part of a client's certificate is its user name.
    CertificateUser, "none|common-name|subject|alternative-name" {
        /// None: a certificate lets in whoever shows it.
        None = "none",
        /// The first common name of its subject.
        CommonName = "common-name",
        /// Its whole subject.
        Subject = "subject",
        /// Its first alternative name that is a host name, a mail address or a URI.
        AlternativeName = "alternative-name",
    }
}

choice! {
    /// What a publisher sees when a session that is owed its message has a full queue.
    OnQueueFull, "drop-new|refuse" {
        /// The message is acknowledged; this session does not get it.
        DropNew = "drop-new",
        /// Reason code 0x97 in version 5; a closed connection in 3.x, which has no such answer.
        Refuse = "refuse",
    }
}

choice! {
    /// What becomes of a client whose will it has no right to publish.
    DeniedWill, "refuse|drop" {
        /// It is refused, with its reason.
        Refuse = "refuse",
        /// It is let in, and has no will.
        Drop = "drop",
    }
}

choice! {
    /// Who of a group gets a message of a shared subscription.
    Sharing, "round-robin|sticky|hash|no" {
        /// One after another.
        RoundRobin = "round-robin",
        /// The same one as long as it can.
        Sticky = "sticky",
        /// The one that the topic says.
        Hash = "hash",
        /// Nobody: subscriptions may not be shared.
        No = "no",
    }
}

/// The words with "or" before the last.
fn either(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_its_words_and_no_others() {
        let read = |text: &str| Hello::read(&Given::Words(text.into())).ok();
        assert_eq!(read("waiting"), Some(Hello::Waiting));
        assert_eq!(read("always"), Some(Hello::Always));
        assert_eq!(read("never"), Some(Hello::Never));
        assert_eq!(read("Never"), None);
        assert_eq!(read(""), None);
        assert!(Hello::read(&Given::Switch(false)).is_err());
    }

    #[test]
    fn a_choice_lists_its_words() {
        assert_eq!(Hello::describe(Range::ANY), "`waiting`, `always` or `never`");
        assert_eq!(OnQueueFull::describe(Range::ANY), "`drop-new` or `refuse`");
    }
}
