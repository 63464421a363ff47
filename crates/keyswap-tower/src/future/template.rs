//! The caller's request as it was, from which further attempts are made.

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request,
};
use smallvec::SmallVec;

use crate::credential::{is_single_use, may_be_single_use};

/// Kept for every request, and needed by few: so the headers are a plain list, which most requests keep
/// without an allocation, and become a map again only when they are sent again.
///
/// Filled in its place, since it is large and moving it would cost more than filling it.
#[derive(Default)]
pub(super) struct Template {
    method: Method,
    uri: Option<Uri>,
    version: Version,
    headers: SmallVec<[(HeaderName, HeaderValue); 4]>,
    extensions: Extensions,
    body: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

impl Template {
    pub(super) fn fill(
        &mut self,
        head: &request::Parts,
        body: &Bytes,
        trailers: Option<&HeaderMap>,
    ) {
        self.method.clone_from(&head.method);
        self.uri = Some(head.uri.clone());
        self.version = head.version;
        self.headers.reserve(head.headers.len());
        for (name, value) in &head.headers {
            self.headers.push((name.clone(), value.clone()));
        }
        self.extensions.clone_from(&head.extensions);
        self.body = Some(body.clone());
        self.trailers = trailers.cloned().map(Box::new);
    }

    /// The head, with room for another header, and the body. `None` if nothing was filled in.
    pub(super) fn request(&self) -> Option<Request<Bytes>> {
        let mut request = Request::new(self.body.clone()?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone()?;
        *request.version_mut() = self.version;
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 1);
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        *request.headers_mut() = headers;
        request.extensions_mut().clone_from(&self.extensions);
        Some(request)
    }

    /// Whether the request redeems a grant that the server may take only once. The body is asked first,
    /// since the headers would have to become a map again.
    pub(super) fn is_single_use(&self) -> bool {
        self.body.as_deref().is_some_and(may_be_single_use)
            && self.request().is_some_and(|request| {
                let (head, body) = request.into_parts();
                is_single_use(&head, &body)
            })
    }

    pub(super) fn trailers(&self) -> Option<Box<HeaderMap>> {
        self.trailers.clone()
    }
}
