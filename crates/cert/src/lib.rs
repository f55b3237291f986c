//! Certificates and keys: made, read, checked, described, and written to files.
//!
//! Nothing here knows what they are used for: no socket, no TLS session, no MQTT, no clock. The time
//! is an argument ([`UnixTime`]). What is wrong with a file is one line that names the file, the fault
//! and the remedy ([`FileError`]). A private key is never part of a message or of `Debug` output.

mod authority;
mod chain;
mod directory;
mod facts;
mod fault;
mod identity;
mod key;
mod moment;
mod names;
mod pem;
mod save;

pub use authority::{Authority, IssueError, Made, Purpose, Validity, make_authority, self_signed};
pub use chain::{Identity, read_authorities, read_certificates, read_revocation_lists};
pub use directory::{Directory, Issued};
pub use facts::{CertificateFacts, facts, is_signed_by};
pub use fault::{Fault, FileError};
pub use identity::{IdentityField, identity};
pub use key::PrivateKey;
pub use moment::{DAY_S, UnixTime};
pub use names::{BadName, Name, ca_name, check_common_name, loopback_names, machine_name};
pub use pem::{Contents, read_anything};
pub use save::{NewFile, make_private_directory, save};
