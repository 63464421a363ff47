//! What is measured: one token request through keyswap, and through what one would use instead.
//!
//! A *call* is one turn of a loop: make the request (POST, two headers, a body of 44 bytes), send it
//! through the layer to a service that answers at once, and drop the answer. No socket, no TLS: what
//! remains is what a layer adds.
//!
//! Each variant has an inner service of a type of its own. A layer that two variants shared would be
//! compiled once, and called where the others are inlined: that alone moved figures by 190 instructions.
#![forbid(unsafe_code)]

mod allocations;
mod inner;
mod layers;
mod loopback;
pub mod replace;
mod request;
mod rounds;
pub mod time;
mod tokens;
mod variant;

use std::fmt;

use http::{Request, Response, StatusCode};
use tower::Service;

use inner::{Alternating, Noop, Reading, Twice};
use layers::{by_hand, keyswap, tower_http};
use request::{call, large, small, stream};

pub use allocations::{CALLS, WARM_UP, allocations};
pub use loopback::{Loopback, loopback};
pub use rounds::Rounds;
pub use variant::{Group, Variant};

/// All groups.
#[must_use]
pub fn groups() -> Vec<Group> {
    vec![warm_path(), post(), over_cap(), streaming(), fallback(), tokens()]
}

/// All variants.
#[must_use]
pub fn variants() -> Vec<Variant> {
    groups().into_iter().flat_map(|group| group.variants).collect()
}

/// Calls of a service with requests of one kind.
fn calls<S, A, B>(
    name: &'static str,
    what: &'static str,
    request: impl Fn() -> Request<B> + Clone + Send + 'static,
    mut service: S,
) -> Variant
where
    S: Service<Request<B>, Response = Response<A>> + Clone + Send + 'static,
    S::Error: fmt::Debug,
{
    Variant::new(name, what, move || {
        assert_eq!(call(&mut service, request()), StatusCode::OK, "{name}");
    })
}

/// The first attempt is accepted: what every request pays.
#[must_use]
pub fn warm_path() -> Group {
    enum SetHeader {}
    enum AddAuthorization {}
    enum FollowRedirect {}
    enum FormatEach {}
    enum Retry {}
    enum One {}
    enum Two {}
    enum Eight {}
    let variants = vec![
        calls("bare", "the inner service alone", small, Noop::<()>::new()),
        calls(
            "set_header",
            "tower-http's `SetRequestHeader` with a value made once: one secret, for ever",
            small,
            tower_http::set_header(Noop::<SetHeader>::new()),
        ),
        calls(
            "add_authorization",
            "tower-http's `AddAuthorization::basic`: one secret, for ever",
            small,
            tower_http::add_authorization(Noop::<AddAuthorization>::new()),
        ),
        calls(
            "follow_redirect",
            "tower-http's `FollowRedirect` with a policy that keeps the body: no secret at all",
            small,
            tower_http::follow_redirect(Noop::<FollowRedirect>::new()),
        ),
        calls(
            "format_each",
            "what programs write: a lock around the secret, the header made for each request",
            small,
            by_hand::format_each(Noop::<FormatEach>::new()),
        ),
        calls(
            "retry_two",
            "the do-it-yourself pair: header from a list in an `RwLock`, tower's `Retry` with a clone",
            small,
            by_hand::retry(Noop::<Retry>::new()),
        ),
        calls(
            "keyswap_one",
            "`FallbackLayer`, Basic, one secret",
            small,
            keyswap::basic(1)(Noop::<One>::new()),
        ),
        calls(
            "keyswap_two",
            "`FallbackLayer`, Basic, two secrets",
            small,
            keyswap::basic(2)(Noop::<Two>::new()),
        ),
        calls(
            "keyswap_eight",
            "`FallbackLayer`, Basic, eight secrets",
            small,
            keyswap::basic(8)(Noop::<Eight>::new()),
        ),
    ];
    Group { title: "Basic, the first attempt is accepted", variants }
}

/// The secret in the form instead of the header.
#[must_use]
pub fn post() -> Group {
    enum Bare {}
    enum Form {}
    enum Post {}
    let variants = vec![
        calls("post_bare", "the inner service alone", small, Noop::<Bare>::new()),
        calls(
            "form_each",
            "what programs write: a lock, the form read and extended, a boxed future",
            small,
            by_hand::FormEach::new(Noop::<Form>::new()),
        ),
        calls(
            "keyswap_post",
            "`FallbackLayer`, `ClientSecretPost`, two secrets",
            small,
            keyswap::post(Noop::<Post>::new()),
        ),
    ];
    Group { title: "Post, the first attempt is accepted", variants }
}

/// A body that states a length over the cap, which goes out once.
#[must_use]
pub fn over_cap() -> Group {
    enum Bare {}
    enum SetHeader {}
    enum Keyswap {}
    let variants = vec![
        calls(
            "large_bare",
            "the inner service alone, which reads the body",
            large,
            Reading::<Bare>::new(),
        ),
        calls(
            "large_set_header",
            "`SetRequestHeader`",
            large,
            tower_http::set_header(Reading::<SetHeader>::new()),
        ),
        calls(
            "large_keyswap",
            "`FallbackLayer`, Basic, two secrets",
            large,
            keyswap::basic(2)(Reading::<Keyswap>::new()),
        ),
    ];
    Group { title: "Basic, a body of 128 KiB that states its length: goes out once", variants }
}

/// A body that states no length and turns out to be over the cap, which goes out once.
#[must_use]
pub fn streaming() -> Group {
    enum Bare {}
    enum SetHeader {}
    enum Keyswap {}
    let variants = vec![
        calls(
            "stream_bare",
            "the inner service alone, which reads the body",
            stream,
            Reading::<Bare>::new(),
        ),
        calls(
            "stream_set_header",
            "`SetRequestHeader`",
            stream,
            tower_http::set_header(Reading::<SetHeader>::new()),
        ),
        calls(
            "stream_keyswap",
            "`FallbackLayer`, Basic, two secrets",
            stream,
            keyswap::basic(2)(Reading::<Keyswap>::new()),
        ),
    ];
    Group { title: "Basic, a stream of four pieces of 32 KiB: goes out once", variants }
}

/// Every call is refused once (401, `invalid_client`) and then accepted.
#[must_use]
pub fn fallback() -> Group {
    enum Floor {}
    enum Retry {}
    enum Keyswap {}
    let variants = vec![
        calls(
            "fallback_bare_twice",
            "two calls of the inner service: the floor",
            small,
            Twice::new(Alternating::<Floor>::new()),
        ),
        calls(
            "fallback_retry",
            "the do-it-yourself pair: looks at the status alone, learns nothing",
            small,
            by_hand::retry(Alternating::<Retry>::new()),
        ),
        calls(
            "fallback_keyswap",
            "`FallbackLayer`, Basic, two secrets: reads the answer, learns the order",
            small,
            keyswap::basic(2)(Alternating::<Keyswap>::new()),
        ),
    ];
    Group { title: "Basic, refused once and then accepted", variants }
}

/// An access token, when there is one already.
#[must_use]
pub fn tokens() -> Group {
    Group { title: "A token", variants: tokens::variants() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderValue;
    use http_body::Body as _;
    use http_body_util::Full;
    use inner::Recorder;
    use layers::{CLIENT_ID, FIRST, SECOND, header};

    /// The status, and what was sent with each attempt.
    fn sent<S, A>(
        wrap: impl FnOnce(Recorder) -> S,
        answers: &[u16],
    ) -> (u16, Vec<(Option<HeaderValue>, Bytes)>)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<A>>,
        S::Error: fmt::Debug,
    {
        let recorder = Recorder::answering(answers);
        let status = call(&mut wrap(recorder.clone()), small());
        (status.as_u16(), recorder.seen())
    }

    /// With the caller's body, and this secret in the header.
    fn with_header(secret: &str) -> (Option<HeaderValue>, Bytes) {
        (Some(header(secret)), Bytes::from(request::FORM))
    }

    #[test]
    fn every_variant_sends_the_same_sensitive_header() {
        let all = [
            ("set_header", sent(tower_http::set_header, &[200])),
            ("add_authorization", sent(tower_http::add_authorization, &[200])),
            ("format_each", sent(by_hand::format_each, &[200])),
            ("retry_two", sent(by_hand::retry, &[200])),
            ("keyswap_one", sent(keyswap::basic(1), &[200])),
            ("keyswap_two", sent(keyswap::basic(2), &[200])),
            ("keyswap_eight", sent(keyswap::basic(8), &[200])),
        ];
        for (name, (status, seen)) in all {
            assert_eq!(status, 200, "{name}");
            assert_eq!(seen, [with_header(FIRST)], "{name}");
            assert!(seen[0].0.as_ref().unwrap().is_sensitive(), "{name}");
        }
    }

    #[test]
    fn both_form_variants_send_the_same_form_and_no_header() {
        let form = format!("{}&client_id={CLIENT_ID}&client_secret={FIRST}", request::FORM);
        let expected = (200, vec![(None, Bytes::from(form))]);
        assert_eq!(sent(by_hand::FormEach::new, &[200]), expected);
        assert_eq!(sent(keyswap::post, &[200]), expected);
    }

    #[test]
    fn a_refused_call_is_made_again_with_the_second_secret() {
        let expected = (200, vec![with_header(FIRST), with_header(SECOND)]);
        assert_eq!(sent(by_hand::retry, &[401, 200]), expected);
        assert_eq!(sent(keyswap::basic(2), &[401, 200]), expected);
    }

    #[test]
    fn a_body_over_the_cap_goes_out_once_and_whole_also_when_it_is_refused() {
        let recorder = Recorder::answering(&[401]);
        let mut service = keyswap::basic(2)(recorder.clone());
        assert_eq!(call(&mut service, large()), StatusCode::UNAUTHORIZED);
        let streamed = Recorder::answering(&[401]);
        let mut service = keyswap::basic(2)(streamed.clone());
        assert_eq!(call(&mut service, stream()), StatusCode::UNAUTHORIZED);
        for seen in [recorder.seen(), streamed.seen()] {
            assert_eq!((seen.len(), seen[0].1.len()), (1, 128 * 1024));
            assert_eq!(seen[0].0, Some(header(FIRST)));
        }
    }

    #[test]
    fn the_requests_and_the_secrets_have_the_stated_sizes() {
        let request = small();
        assert_eq!((request.headers().len(), request.body().size_hint().exact()), (2, Some(44)));
        assert_eq!(large().body().size_hint().exact(), Some(128 * 1024));
        assert_eq!(stream().body().size_hint().exact(), None);
        assert_eq!((CLIENT_ID.len(), FIRST.len(), SECOND.len()), (36, 40, 40));
        assert!(keyswap::list(8).iter().all(|secret| secret.expose().len() == 40));
    }

    #[test]
    fn every_variant_runs_and_so_does_its_fork() {
        for mut variant in variants() {
            variant.run(100);
            variant.fork().run(100);
        }
    }
}
