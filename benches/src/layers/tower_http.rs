//! Layers of tower-http: one secret, for ever.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use tower::Layer;
use tower_http::auth::{AddAuthorization, AddAuthorizationLayer};
use tower_http::follow_redirect::policy::{Action, Attempt, Policy};
use tower_http::follow_redirect::{FollowRedirect, FollowRedirectLayer};
use tower_http::set_header::{SetRequestHeader, SetRequestHeaderLayer};

use super::{CLIENT_ID, FIRST, header};

/// With a value made once.
pub(crate) fn set_header<S>(inner: S) -> SetRequestHeader<S, HeaderValue> {
    SetRequestHeaderLayer::overriding(AUTHORIZATION, header(FIRST)).layer(inner)
}

/// tower-http's own layer for client authentication.
pub(crate) fn add_authorization<S>(inner: S) -> AddAuthorization<S> {
    AddAuthorizationLayer::basic(CLIENT_ID, FIRST).as_sensitive(true).layer(inner)
}

/// No authentication: the layer of tower-http that, like a fallback, keeps a request to send it again.
pub(crate) fn follow_redirect<S: Clone>(inner: S) -> FollowRedirect<S, KeepBody> {
    FollowRedirectLayer::with_policy(KeepBody).layer(inner)
}

/// Follows, with the body that was sent.
#[derive(Clone)]
pub(crate) struct KeepBody;

impl<B: Clone, E> Policy<B, E> for KeepBody {
    fn redirect(&mut self, _attempt: &Attempt<'_>) -> Result<Action, E> {
        Ok(Action::Follow)
    }

    fn on_request(&mut self, _request: &mut Request<B>) {}

    fn clone_body(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}
