//! Secrets in a plain text: one a line. A pure function, since what it reads is written by people and tools
//! of every kind.

use std::fmt;

use keyswap_core::InvalidSecret;

/// The secrets in `text`, in order, without the line ends.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Line<'_>>, InvalidLines> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(InvalidLines::ByteOrderMark);
    }
    let text = std::str::from_utf8(text).map_err(|error| InvalidLines::Secret {
        line: 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
        reason: InvalidSecret::NotUtf8 { position: error.valid_up_to() },
    })?;
    // Each line of these would pass for a secret, and be sent to the server.
    if text.trim_start().starts_with('{') && text.contains("\"keyswap\"") {
        return Err(InvalidLines::Document);
    }
    if text.lines().any(|line| line.starts_with("-----BEGIN ")) {
        return Err(InvalidLines::Pem);
    }
    let mut lines = Vec::new();
    for (position, value) in text.split('\n').enumerate() {
        let value = value.strip_suffix('\r').unwrap_or(value);
        if value.is_empty() {
            continue;
        }
        let number = position + 1;
        if value.trim().is_empty() {
            return Err(InvalidLines::OnlySpace { line: number });
        }
        lines.push(Line { number, value });
    }
    if lines.is_empty() { Err(InvalidLines::Empty) } else { Ok(lines) }
}

/// A line that is not empty.
#[derive(Eq, PartialEq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) value: &'a str,
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Why a plain text holds no list. It never repeats the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InvalidLines {
    Empty,
    ByteOrderMark,
    Document,
    Pem,
    OnlySpace { line: usize },
    Secret { line: usize, reason: InvalidSecret },
}

impl fmt::Display for InvalidLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty; it should hold a secret a line"),
            Self::ByteOrderMark => f.write_str(
                "it begins with a byte order mark, which would be sent with the secret; save it as \
                 UTF-8 without one",
            ),
            Self::Document => f.write_str(
                "it is a secret document, and no plain text with a secret a line; follow it with \
                 `SecretSource::document`",
            ),
            Self::Pem => f.write_str(
                "it holds a key or certificate (PEM), and no client secret; name another file",
            ),
            Self::OnlySpace { line } => {
                write!(f, "line {line} holds only white space; remove it")
            }
            Self::Secret { line, reason } => write!(f, "line {line}: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<&str> {
        parse(text.as_bytes()).unwrap().into_iter().map(|line| line.value).collect()
    }

    #[test]
    fn a_line_end_is_no_part_of_a_secret_and_a_space_is() {
        for text in ["one", "one\n", "one\r\n", "\none\n\n"] {
            assert_eq!(values(text), ["one"], "{text:?}");
        }
        assert_eq!(values(" a b \r\n#c=\n"), [" a b ", "#c="]);
    }

    #[test]
    fn what_is_no_list_of_secrets_is_refused_by_its_line_and_not_repeated() {
        let cases: [(&[u8], &str); 7] = [
            (b"", "is empty"),
            (b"\r\n\n", "is empty"),
            (b"\xef\xbb\xbfhunter2", "byte order mark"),
            (b"{\"keyswap\": 1, \"secrets\": [{\"id\": \"hunter2\"", "SecretSource::document"),
            (b"-----BEGIN PRIVATE KEY-----\nhunter2", "PEM"),
            (b"hunter2\n  \t\n", "line 2 holds only"),
            (b"hunter2\nhunter2\xff\n", "line 2: the client secret is not UTF-8"),
        ];
        for (text, reason) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(!format!("{:?}", parse(b"hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn every_secret_comes_back_whatever_the_line_ends(
            // All that RFC 6749 appendix A.2 allows, with a visible character in it.
            lines in prop::collection::vec(("[ -~]{0,20}[!-~][ -~]{0,20}", 1usize..4, any::<bool>()), 1..20),
            ended in any::<bool>(),
        ) {
            let mut text = String::new();
            for (value, ends, windows) in &lines {
                text.push_str(value);
                for _ in 0..*ends {
                    text.push_str(if *windows { "\r\n" } else { "\n" });
                }
            }
            if !ended {
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
            }
            prop_assume!(!text.contains("\"keyswap\"") && !text.contains("-----BEGIN "));
            let expected: Vec<_> = lines.iter().map(|(value, ..)| value.as_str()).collect();
            prop_assert_eq!(values(&text), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&text);
        }
    }
}
