//! The layer, and what is the same for all requests.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use keyswap_tower::Origin;
use tower_layer::Layer;

use super::ClearTextError;
use crate::{Bearer, TokenSource};

/// Bodies up to this size are kept for a second sending. As in keyswap's other layer.
const DEFAULT_LIMIT: usize = 64 * 1024;

/// Wraps an HTTP client so that its requests carry an access token (RFC 6750 section 2.1).
///
/// See [`Bearer`] for what the service does. Clones, and the services made by them, share one
/// [`TokenSource`].
///
/// ```no_run
/// use keyswap_oauth::{BearerLayer, TokenSource};
///
/// # fn example(tokens: TokenSource) -> Result<(), Box<dyn std::error::Error>> {
/// let layer = BearerLayer::new(tokens).origin("https://api.example".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BearerLayer {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) tokens: TokenSource,
    pub(crate) origin: Option<Origin>,
    pub(crate) max_body: usize,
    pub(crate) clear_text: bool,
}

impl BearerLayer {
    /// With the tokens of this source, for any origin, and bodies of up to 64 KiB that can be sent once
    /// more.
    pub fn new(tokens: TokenSource) -> Self {
        let shared = Shared { tokens, origin: None, max_body: DEFAULT_LIMIT, clear_text: false };
        Self { shared: Arc::new(shared) }
    }

    /// The only origin that the tokens are sent to: that of the API. Default: any.
    ///
    /// A request to another one, or whose URI names none, gets no token: it goes out as the caller made
    /// it, with a warning. So a mistaken URL, or a redirect that something above the layer follows, takes
    /// no token elsewhere.
    ///
    /// What follows redirects below the layer sees a request with the token in it. reqwest, and
    /// tower-http's `FollowRedirect` with its standard policy, take the `Authorization` header off when
    /// the redirect leads to another origin.
    pub fn origin(self, origin: Origin) -> Self {
        self.with(|shared| shared.origin = Some(origin))
    }

    /// The largest request body, in bytes, of which a copy is kept until the answer comes, so that the
    /// request can be sent once more. Default 64 KiB.
    ///
    /// A larger one is no error: it goes out once. If its token is refused, the token is renewed all the
    /// same, and the answer is the caller's.
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|shared| shared.max_body = bytes)
    }

    /// Sends tokens over `http` to hosts other than loopback as well, where something else protects the
    /// connection: the proxies of a service mesh. Without this, such a request fails before anything is
    /// sent, since RFC 6750 section 5.3 asks for TLS.
    pub fn allow_clear_text(self) -> Self {
        self.with(|shared| shared.clear_text = true)
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// The origin that the tokens are [pinned](Self::origin) to.
    #[must_use]
    pub fn pinned_origin(&self) -> Option<&Origin> {
        self.shared.origin.as_ref()
    }
}

/// Whether a request gets a token.
pub(crate) enum Admission {
    Signed,
    Untouched,
    Refused(ClearTextError),
}

impl Shared {
    /// `signed` says whether the caller has put an `Authorization` header on the request.
    pub(crate) fn admit(&self, uri: &Uri, signed: bool) -> Admission {
        if signed {
            tracing::debug!("a request goes out as it is, since it has an Authorization header");
            return Admission::Untouched;
        }
        // The host alone: path and query may hold credentials, and so may the rest of the authority.
        let host = uri.host().unwrap_or_default();
        match &self.origin {
            // An origin is https or loopback.
            Some(origin) if origin.is_of(uri) => Admission::Signed,
            Some(origin) => {
                tracing::warn!(
                    host,
                    %origin,
                    "a request goes out as it is, since the access tokens belong to another origin"
                );
                Admission::Untouched
            }
            None if self.clear_text
                || uri.scheme_str() != Some("http")
                || Origin::is_loopback_host(host) =>
            {
                Admission::Signed
            }
            None => Admission::Refused(ClearTextError::new(host)),
        }
    }

    pub(crate) fn describe<'a, 'b, 'c>(
        &self,
        to: &'c mut fmt::DebugStruct<'a, 'b>,
    ) -> &'c mut fmt::DebugStruct<'a, 'b> {
        to.field("tokens", &self.tokens)
            .field("origin", &self.origin)
            .field("max_body", &self.max_body)
            .field("clear_text", &self.clear_text)
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Bearer<S> {
        Bearer::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for BearerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.describe(&mut f.debug_struct("BearerLayer")).finish()
    }
}
