//! The layer, and what all services that it made share.

use std::fmt;
use std::sync::Arc;

use keyswap_core::SecretRing;
use tower_layer::Layer;

#[cfg(doc)]
use crate::Authenticated;
use crate::{Fallback, Origin, Profile};

/// Wraps an HTTP client so that it signs requests with the secrets of a ring.
///
/// `C` is the [`Credential`](crate::Credential), `V` the [`ReadVerdict`](crate::ReadVerdict). Clones, and
/// the services made by them, share one ring.
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::{ClientSecretPost, FallbackLayer, Profile};
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let layer = FallbackLayer::new(ring, ClientSecretPost::new("billing"))
///     .profile(Profile::Auth0)
///     .max_body(16 * 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct FallbackLayer<C, V = Profile> {
    shared: Arc<Shared<C, V>>,
}

/// What is the same for all requests.
#[derive(Clone)]
pub(crate) struct Shared<C, V> {
    pub(crate) ring: SecretRing,
    pub(crate) credential: C,
    pub(crate) profile: V,
    pub(crate) max_body: usize,
    pub(crate) max_answer: usize,
    pub(crate) origin: Option<Origin>,
    pub(crate) mark_answers: bool,
}

/// Token requests are below 4 KiB.
const DEFAULT_LIMIT: usize = 64 * 1024;

impl<C> FallbackLayer<C> {
    /// A layer for a server that keeps to RFC 6749, with limits of 64 KiB.
    pub fn new(ring: SecretRing, credential: C) -> Self {
        Self {
            shared: Arc::new(Shared {
                ring,
                credential,
                profile: Profile::default(),
                max_body: DEFAULT_LIMIT,
                max_answer: DEFAULT_LIMIT,
                origin: None,
                mark_answers: false,
            }),
        }
    }
}

impl<C: Clone, V: Clone> FallbackLayer<C, V> {
    /// How answers are read: a [`Profile`], or a [`ReadVerdict`](crate::ReadVerdict) of your own.
    pub fn profile<W>(self, profile: W) -> FallbackLayer<C, W> {
        let Shared { ring, credential, max_body, max_answer, origin, mark_answers, .. } =
            Arc::unwrap_or_clone(self.shared);
        let shared =
            Shared { ring, credential, profile, max_body, max_answer, origin, mark_answers };
        FallbackLayer { shared: Arc::new(shared) }
    }

    /// The largest request body, in bytes, that is held in memory to be sent again. Default 64 KiB.
    ///
    /// A larger one is no error: it streams through, and the request goes out once, with the preferred
    /// secret where the credential does not need the body. Its answer is the caller's.
    pub fn max_body(self, bytes: usize) -> Self {
        let shared = Shared { max_body: bytes, ..Arc::unwrap_or_clone(self.shared) };
        Self { shared: Arc::new(shared) }
    }

    /// The largest answer, in bytes, that is read to see what it says about the secret. Default 64 KiB.
    ///
    /// A larger one cannot be judged and is given back whole. Refused answers are read to their end
    /// before the next attempt, since a connection with an unread answer cannot be used again.
    pub fn max_answer(self, bytes: usize) -> Self {
        let shared = Shared { max_answer: bytes, ..Arc::unwrap_or_clone(self.shared) };
        Self { shared: Arc::new(shared) }
    }

    /// Whether an [`Authenticated`] goes into the extensions of each accepted answer as well, for code that
    /// sees the answer when its body was replaced by another. Three allocations an answer. Default: no.
    pub fn mark_answers(self, mark: bool) -> Self {
        let shared = Shared { mark_answers: mark, ..Arc::unwrap_or_clone(self.shared) };
        Self { shared: Arc::new(shared) }
    }

    /// The only origin that the secrets are sent to: that of the token endpoint. Default: any.
    ///
    /// A request to another one, or whose URI names none, gets no secret: it goes out as the caller made
    /// it, with a warning. So a mistaken URL, or a redirect that something above the layer follows, takes
    /// no secret elsewhere. What a client below the layer does is out of its reach: let it follow no
    /// redirects.
    ///
    /// An [`Origin`] is https or loopback, so that with one no secret goes out in clear text.
    ///
    /// ```
    /// use keyswap_core::{Secret, SecretList, SecretRing};
    /// use keyswap_tower::{ClientSecretBasic, FallbackLayer};
    ///
    /// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let ring = SecretRing::new(SecretList::new([secret])?);
    /// let layer = FallbackLayer::new(ring, ClientSecretBasic::new("billing"))
    ///     .origin("https://auth.example/token".parse()?);
    /// assert_eq!(layer.pinned_origin().unwrap().to_string(), "https://auth.example");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(self, origin: Origin) -> Self {
        let shared = Shared { origin: Some(origin), ..Arc::unwrap_or_clone(self.shared) };
        Self { shared: Arc::new(shared) }
    }
}

impl<C, V> FallbackLayer<C, V> {
    /// The origin that the secrets are [pinned](Self::origin) to.
    #[must_use]
    pub fn pinned_origin(&self) -> Option<&Origin> {
        self.shared.origin.as_ref()
    }
}

impl<S, C, V> Layer<S> for FallbackLayer<C, V> {
    type Service = Fallback<S, C, V>;

    fn layer(&self, inner: S) -> Fallback<S, C, V> {
        Fallback::new(inner, Arc::clone(&self.shared))
    }
}

impl<C, V> Clone for FallbackLayer<C, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C, V> fmt::Debug for FallbackLayer<C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.describe(&mut f.debug_struct("FallbackLayer")).finish()
    }
}

impl<C, V> Shared<C, V> {
    /// Types instead of values, since a credential of somebody else may print what it holds.
    pub(crate) fn describe<'a, 'b, 'c>(
        &self,
        to: &'c mut fmt::DebugStruct<'a, 'b>,
    ) -> &'c mut fmt::DebugStruct<'a, 'b> {
        to.field("ring", &self.ring)
            .field("credential", &format_args!("{}", std::any::type_name::<C>()))
            .field("profile", &format_args!("{}", std::any::type_name::<V>()))
            .field("max_body", &self.max_body)
            .field("max_answer", &self.max_answer)
            .field("origin", &self.origin)
    }
}
