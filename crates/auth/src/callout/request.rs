//! How a question is written: as JSON or as a form. What a client has not said is left out, so that
//! no name and an empty name stay different.

use serde_json::{Map, Value};

/// What is told of a client. A value of none is left out.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `clientid`: its client identifier.
    pub client_id: &'a str,
    /// `username`: the user name that it gives.
    pub user_name: Option<&'a str>,
    /// `password`: the password that it gives.
    pub password: Option<&'a [u8]>,
    /// `peerhost`: the IP address from which it comes.
    pub host: Option<&'a str>,
}

/// How a question is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// As a JSON object.
    Json,
    /// As a form, `application/x-www-form-urlencoded`.
    Form,
}

impl BodyFormat {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }
}

impl Asked<'_> {
    fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        [
            ("clientid", Some(self.client_id.as_bytes())),
            ("username", self.user_name.map(str::as_bytes)),
            ("password", self.password),
            ("peerhost", self.host.map(str::as_bytes)),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    /// The body; none if it cannot be said in that format.
    pub(super) fn written(&self, format: BodyFormat) -> Option<Vec<u8>> {
        match format {
            BodyFormat::Json => {
                let mut object = Map::new();
                for (name, value) in self.fields() {
                    let text = std::str::from_utf8(value).ok()?;
                    object.insert(name.to_owned(), Value::from(text));
                }
                serde_json::to_vec(&object).ok()
            }
            BodyFormat::Form => {
                let mut body = Vec::new();
                for (name, value) in self.fields() {
                    if !body.is_empty() {
                        body.push(b'&');
                    }
                    body.extend_from_slice(name.as_bytes());
                    body.push(b'=');
                    escape(value, &mut body);
                }
                Some(body)
            }
        }
    }
}

/// As `application/x-www-form-urlencoded` has it, but for the space, which is escaped as well.
fn escape(value: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(byte) {
            out.push(*byte);
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0x0F));
            out.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Asked<'_> = Asked {
        client_id: "a&b",
        user_name: Some("ännä"),
        password: Some(b"p=\" \\"),
        host: Some("::1"),
    };

    fn written(asked: &Asked<'_>, format: BodyFormat) -> String {
        String::from_utf8(asked.written(format).unwrap()).unwrap()
    }

    #[test]
    fn no_value_can_become_another_field() {
        assert_eq!(
            written(&ALL, BodyFormat::Form),
            "clientid=a%26b&username=%C3%A4nn%C3%A4&password=p%3D%22%20%5C&peerhost=%3A%3A1"
        );
        let json: Value = serde_json::from_str(&written(&ALL, BodyFormat::Json)).unwrap();
        assert_eq!(json["password"], "p=\" \\");
        assert_eq!(json["clientid"], "a&b");
        assert_eq!(json.as_object().unwrap().len(), 4);
    }

    #[test]
    fn what_was_not_said_is_left_out_and_empty_is_said() {
        let nobody = Asked { client_id: "", user_name: None, password: None, host: None };
        assert_eq!(written(&nobody, BodyFormat::Form), "clientid=");
        assert_eq!(written(&nobody, BodyFormat::Json), r#"{"clientid":""}"#);
        let empty = Asked { user_name: Some(""), password: Some(b""), ..nobody };
        assert_eq!(written(&empty, BodyFormat::Form), "clientid=&username=&password=");
    }

    #[test]
    fn a_password_that_is_not_text_goes_into_a_form_alone() {
        let asked = Asked { password: Some(b"\xFF\x00"), ..ALL };
        assert_eq!(asked.written(BodyFormat::Json), None);
        assert!(written(&asked, BodyFormat::Form).contains("password=%FF%00"));
    }
}
