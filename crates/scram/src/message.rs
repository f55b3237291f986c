//! The form of messages: fields behind commas, names with two characters escaped.

use crate::error::ScramError;

/// Messages of the other end are not longer than this.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// A message as text.
pub(crate) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::NotSupported("a message so long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("UTF-8"))
}

/// What a first message says of channel binding, and the rest.
pub(crate) fn split_binding(message: &str) -> Result<(&str, &str), ScramError> {
    let (flag, rest) = message.split_once(',').ok_or(ScramError::Malformed("a header"))?;
    let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed("a header"))?;
    if flag.starts_with("p=") {
        return Err(ScramError::NotSupported("channel binding"));
    }
    if !matches!(flag, "n" | "y") {
        return Err(ScramError::Malformed("a header"));
    }
    if !identity.is_empty() {
        return Err(ScramError::NotSupported("acting for somebody else"));
    }
    if bare.starts_with("m=") {
        return Err(ScramError::NotSupported("an extension"));
    }
    Ok((&message[..message.len() - bare.len()], bare))
}

/// The value of a field with this name.
pub(crate) fn field(field: Option<&str>, name: char) -> Option<&str> {
    field?.strip_prefix(name)?.strip_prefix('=')
}

/// A user name, in which commas and equals signs are written otherwise.
pub(crate) fn unescape(name: &str) -> Result<String, ScramError> {
    let mut user = String::with_capacity(name.len());
    let mut parts = name.split('=');
    user.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(ScramError::Malformed("a user name that is well-formed")),
        };
        user.push(sign);
        user.push_str(rest);
    }
    if user.is_empty() { Err(ScramError::Malformed("a user name")) } else { Ok(user) }
}

/// A user name as it is written.
pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}
