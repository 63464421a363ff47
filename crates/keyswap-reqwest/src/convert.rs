//! Between the requests and answers of reqwest and those of the http crate.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use keyswap_tower::{AnswerBody, RequestBody};
use reqwest::{Body, ResponseBuilderExt, Url};

/// A request body as reqwest takes it: as bytes where it is complete, since reqwest can send only those
/// again after a connection that was closed meanwhile.
pub(crate) fn request_body<B>(body: RequestBody<B>) -> Body
where
    B: http_body::Body + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync,
{
    match body.into_bytes() {
        Ok(bytes) => Body::from(bytes),
        Err(streaming) => Body::wrap(streaming),
    }
}

/// The request for reqwest, which takes its URL apart a second time.
pub(crate) fn request<B>(
    request: Request<RequestBody<B>>,
) -> Result<reqwest::Request, reqwest::Error>
where
    B: http_body::Body + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + Sync,
{
    let (head, body) = request.into_parts();
    reqwest::Request::try_from(Request::from_parts(head, request_body(body)))
}

/// An answer that keeps its URL through the conversion.
pub(crate) fn answer(answer: reqwest::Response) -> Response<Body> {
    let url = answer.url().clone();
    let mut answer = Response::from(answer);
    answer.extensions_mut().extend(url_extension(url));
    answer
}

/// An answer of the layer for callers of reqwest, whose answers have one type of body: what the layer's
/// says goes into the extensions.
pub(crate) fn response(answer: Response<AnswerBody<Body>>) -> reqwest::Response {
    let (mut head, body) = answer.into_parts();
    if let Some(authenticated) = body.authenticated() {
        head.extensions.insert(authenticated.clone());
    }
    let body = match body.into_untouched() {
        Ok(body) => body,
        Err(read) if read.is_end_stream() => Body::from(Bytes::new()),
        Err(read) => Body::wrap(read),
    };
    Response::from_parts(head, body).into()
}

/// reqwest's own extension for the URL, which only its builder makes.
fn url_extension(url: Url) -> http::Extensions {
    let built = http::response::Builder::new().url(url).body(());
    built.map(|answer| answer.into_parts().0.extensions).unwrap_or_default()
}
