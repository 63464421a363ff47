//! gRPC: the status of the call, which stands in the head of the answer where the server did not take it.

use http::response::Parts;
use http::{HeaderMap, StatusCode};
use keyswap_core::Verdict;

use super::ReadVerdict;
use crate::credential::media_type;

/// Reads the answer to a gRPC call: the status `UNAUTHENTICATED` (16) is a refusal.
///
/// A server that refuses a call answers with the status alone, in the head of an HTTP answer with status
/// 200 ("Trailers-Only" in the protocol's [description]). Where there is none, the HTTP status stands for
/// it, [401 for `UNAUTHENTICATED`][mapping]: proxies answer so.
///
/// | the head has | verdict |
/// | --- | --- |
/// | `grpc-status: 16`, or status 401 without a `grpc-status` | refused |
/// | `grpc-status: 0`, or status 200, type `application/grpc` and no `grpc-status` | accepted |
/// | another `grpc-status`, or anything else | inconclusive |
///
/// `PERMISSION_DENIED` (7) is no refusal: the server knows who calls, and says that they may not.
///
/// An answer whose status is not in its head is that of a call which the server took: messages follow, and
/// the status behind them. `UNAUTHENTICATED` there is the caller's, since a call with messages cannot be
/// made again unnoticed; a server that sends its head before it looks at the secret cannot be used with
/// this. Nor can gRPC-Web, whose status stands in the body.
///
/// ```
/// use http::HeaderName;
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::{FallbackLayer, Grpc, HeaderSecret};
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// // A header is what gRPC calls metadata.
/// let layer = FallbackLayer::new(ring, HeaderSecret::new(HeaderName::from_static("x-api-key")))
///     .profile(Grpc)
///     .origin("https://ledger.example".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A tonic client has to be told the origin too (`with_origin`), and not only its channel: otherwise the
/// requests that it makes name none, and a layer that is
/// [pinned to one](crate::FallbackLayer::origin) puts no secret on them.
///
/// # Which calls fall back
///
/// The layer reads a request up to [`max_body`](crate::FallbackLayer::max_body) before it sends it, since
/// gRPC clients do not say how long it will be. So a call with one message falls back, whatever the number
/// of messages in its answer, and so does a stream that ends within the limit.
///
/// A stream that goes on is held back until it ends or is over the limit. That is no use for a
/// conversation: put [`SendOnce`](crate::SendOnce) into the extensions of such a call
/// (`request.extensions_mut().insert(SendOnce)` with tonic). It goes out once, at once and with the
/// preferred secret; the status is the caller's.
///
/// [description]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
/// [mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Grpc;

impl ReadVerdict for Grpc {
    fn read_head(&self, head: &Parts) -> Option<Verdict> {
        Some(match (head.status, status(&head.headers)) {
            // 401 beside 16 is the same said twice.
            (StatusCode::OK | StatusCode::UNAUTHORIZED, Status::Is(b"16"))
            | (StatusCode::UNAUTHORIZED, Status::Absent) => Verdict::Refused,
            (StatusCode::OK, Status::Is(b"0")) => Verdict::Accepted,
            (StatusCode::OK, Status::Absent) if is_grpc(&head.headers) => Verdict::Accepted,
            _ => Verdict::Inconclusive,
        })
    }

    fn read_body(&self, _head: &Parts, _body: &[u8]) -> Verdict {
        Verdict::Inconclusive
    }
}

/// What the head says about the call.
enum Status<'a> {
    Absent,
    Is(&'a [u8]),
    /// Two of them, of which only one can be right.
    Unclear,
}

fn status(headers: &HeaderMap) -> Status<'_> {
    let mut values = headers.get_all("grpc-status").iter();
    match (values.next(), values.next()) {
        (None, _) => Status::Absent,
        (Some(value), None) => Status::Is(value.as_bytes()),
        _ => Status::Unclear,
    }
}

/// Not `application/grpc-web`: that is another protocol.
fn is_grpc(headers: &HeaderMap) -> bool {
    const NAME: &str = "application/grpc";
    let Some(media_type) = media_type(headers) else { return false };
    media_type.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME))
        && matches!(media_type.as_bytes().get(NAME.len()), None | Some(b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, headers: &[(&'static str, &str)]) -> Option<Verdict> {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let (head, ()) = answer.body(()).unwrap().into_parts();
        Grpc.read_head(&head)
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    #[test]
    fn unauthenticated_alone_is_a_refusal() {
        assert_eq!(verdict(200, &[GRPC, ("grpc-status", "16")]), Some(Verdict::Refused));
        assert_eq!(verdict(401, &[GRPC, ("grpc-status", "16")]), Some(Verdict::Refused));
        for status in (1..16).chain([17, 160]) {
            let status = status.to_string();
            for http in [200, 401] {
                let headers = [GRPC, ("grpc-status", &status)];
                assert_eq!(verdict(http, &headers), Some(Verdict::Inconclusive), "{status}");
            }
        }
    }

    #[test]
    fn a_call_that_the_server_took_is_accepted() {
        assert_eq!(verdict(200, &[GRPC, ("grpc-status", "0")]), Some(Verdict::Accepted));
        for name in ["application/grpc", "application/grpc+proto", "Application/gRPC+json; v=1"] {
            assert_eq!(verdict(200, &[("content-type", name)]), Some(Verdict::Accepted), "{name}");
        }
    }

    #[test]
    fn of_the_answers_of_a_proxy_401_alone_is_a_refusal() {
        assert_eq!(verdict(401, &[("content-type", "text/html")]), Some(Verdict::Refused));
        assert_eq!(verdict(401, &[]), Some(Verdict::Refused));
        for status in [204, 302, 400, 403, 404, 407, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(status, &[]), Some(Verdict::Inconclusive), "{status}");
            assert_eq!(verdict(status, &[GRPC]), Some(Verdict::Inconclusive), "{status}");
        }
    }

    #[test]
    fn an_answer_that_is_not_grpc_or_contradicts_itself_says_nothing() {
        for headers in [
            &[][..],
            &[("content-type", "text/html")],
            &[("content-type", "application/grpc-web+proto")],
            &[("content-type", "application/json")],
            &[GRPC, ("grpc-status", "")],
            &[GRPC, ("grpc-status", "ok")],
            &[GRPC, ("grpc-status", "0"), ("grpc-status", "16")],
            &[GRPC, ("grpc-status", "16"), ("grpc-status", "16")],
        ] {
            assert_eq!(verdict(200, headers), Some(Verdict::Inconclusive), "{headers:?}");
        }
        assert_eq!(verdict(503, &[GRPC, ("grpc-status", "16")]), Some(Verdict::Inconclusive));
        assert_eq!(verdict(401, &[GRPC, ("grpc-status", "0")]), Some(Verdict::Inconclusive));
    }
}
