//! What one answer of an authorization server says about the secret that was sent.

/// What one answer says about the secret that was sent with the request.
///
/// Only a refusal makes keyswap try another secret. Everything that leaves a doubt is
/// [`Inconclusive`](Verdict::Inconclusive) and goes back to the caller unchanged.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The server authenticated the client with this secret.
    Accepted,
    /// Client authentication failed, in the way that this server says it (RFC 6749 section 5.2,
    /// `invalid_client`). Worth trying the next secret; no proof that this one is dead.
    Refused,
    /// As [`Refused`](Verdict::Refused), by a server that is known to authenticate the client before it
    /// looks at the grant: an authorization code or a refresh token in the request is as good as
    /// before.
    ///
    /// A reader of verdicts says this only where the provider documents the order or was seen to keep
    /// it. RFC 6749 section 4.1.3 asks for both checks and for no order. For requests that are not
    /// [`single_use`](crate::Attempts::single_use) it makes no difference.
    RefusedBeforeGrant,
    /// The answer says nothing certain about the secret: a rate limit, a server error, a redirect,
    /// another OAuth error, a body that cannot be read.
    Inconclusive,
}

impl Verdict {
    /// Whether client authentication failed, before the server looked at the grant or with no word on
    /// that.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Refused | Self::RefusedBeforeGrant)
    }
}
