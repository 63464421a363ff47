//! The parameters of a request: a form, a JSON object or a query.
//!
//! Forms are decoded strictly. A lenient decoder would turn a wrongly encoded secret into another one, and the
//! mistake would look like a wrong secret.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Parameters by name, each at most once (RFC 6749 section 3.2).
#[derive(Default)]
pub(crate) struct Parameters(BTreeMap<String, String>);

/// What is wrong with a request that cannot be read; never a part of it, since that may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parameters").field(&self.0.keys()).finish()
    }
}

impl Parameters {
    pub(crate) fn from_form(form: &[u8]) -> Result<Self, Malformed> {
        let form = std::str::from_utf8(form)
            .map_err(|_| Malformed("The request body is not a form: it is not UTF-8."))?;
        let mut parameters = Self::default();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode_component(name), decode_component(value))
            else {
                return Err(Malformed(
                    "The request is not properly encoded: it has a bad percent escape.",
                ));
            };
            if parameters.0.insert(name, value).is_some() {
                return Err(Malformed("A parameter was given more than once."));
            }
        }
        Ok(parameters)
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let Ok(Value::Object(members)) = serde_json::from_slice(json) else {
            return Err(Malformed("The request body is not a JSON object."));
        };
        let mut parameters = Self::default();
        for (name, value) in members {
            match value {
                Value::String(value) => {
                    parameters.0.insert(name, value);
                }
                Value::Null => {}
                _ => return Err(Malformed("A parameter in the request body is not a string.")),
            }
        }
        Ok(parameters)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Decodes `application/x-www-form-urlencoded`; nothing if it has a bad escape or is not UTF-8 afterwards.
pub(crate) fn decode_component(encoded: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_as_forms() {
        let parameters = Parameters::from_form(b"client_id=a&client_secret=p%2Bq+r%3d&x").unwrap();
        assert_eq!(parameters.value("client_secret"), Some("p+q r="));
        assert_eq!(parameters.value("x"), Some(""));
        assert_eq!(parameters.value("y"), None);
    }

    #[test]
    fn bad_forms_are_refused() {
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=1&a=2"] {
            assert!(Parameters::from_form(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Parameters::from_form(b"a=\xff").is_err());
    }

    #[test]
    fn json_takes_strings_and_passes_over_null() {
        let parameters = Parameters::from_json(br#"{"a":"1","b":null}"#).unwrap();
        assert_eq!((parameters.value("a"), parameters.value("b")), (Some("1"), None));
        for bad in [r#"{"a":1}"#, r#"["a"]"#, "{", ""] {
            assert!(Parameters::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let parameters = Parameters::from_form(b"client_secret=a-very-secret-value").unwrap();
        let shown = format!("{parameters:?}");
        assert!(
            shown.contains("client_secret") && !shown.contains("a-very-secret-value"),
            "{shown}"
        );
    }
}
