//! Which headers go on to the server, and back to the program.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that concern one connection (RFC 9110 section 7.6.1), and those with which proxies themselves are spoken to.
const OF_A_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What goes on to the server.
pub(super) fn forwarded(of_program: &HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(of_program);
    // The client's, which the layer puts in; those of this connection; and those that the HTTP client makes.
    for name in [AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, ORIGIN] {
        headers.remove(name);
    }
    // An answer that is compressed could not be read for what it says about the secret.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// What goes back to the program.
pub(super) fn returned(of_server: &HeaderMap) -> HeaderMap {
    end_to_end(of_server)
}

fn end_to_end(all: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = all
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut headers = all.clone();
    for name in OF_A_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_concerns_one_connection_does_not_go_on() {
        let program = map(&[
            ("host", "127.0.0.1:4480"),
            ("authorization", "Basic YTpi"),
            ("content-type", "application/json"),
            ("content-length", "7"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic YTpi"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("accept-encoding", "gzip, br"),
            ("user-agent", "program/1"),
            ("traceparent", "00-1-2-01"),
        ]);
        let expected = map(&[
            ("content-type", "application/json"),
            ("accept-encoding", "identity"),
            ("user-agent", "program/1"),
            ("traceparent", "00-1-2-01"),
        ]);
        assert_eq!(forwarded(&program), expected);
        let server = map(&[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("retry-after", "3"),
        ]);
        assert_eq!(returned(&server), map(&[("set-cookie", "a=b"), ("retry-after", "3")]));
    }
}
