//! Reading an answer of a real server with one of our profiles.

use http::Response;
use keyswap_core::Verdict;
use keyswap_tower::{Profile, ReadVerdict};

/// Status, body and what `profile` makes of them.
///
/// # Panics
///
/// When the body cannot be read.
pub async fn read(answer: reqwest::Response, profile: Profile) -> (u16, String, Verdict) {
    let (head, body) = Response::from(answer).into_parts();
    let body = reqwest::Response::from(Response::new(body));
    let body = body.bytes().await.expect("the answer ends well");
    let verdict = profile.read_head(&head).unwrap_or_else(|| profile.read_body(&head, &body));
    (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned(), verdict)
}
