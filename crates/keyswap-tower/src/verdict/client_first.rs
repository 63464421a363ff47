//! A server that is known to authenticate the client before it looks at the grant.

use http::response::Parts;
use keyswap_core::Verdict;

use super::ReadVerdict;

/// Your word that the server authenticates the client before it looks at the grant, so that a code or a
/// refresh token that came with a refused secret is as good as before.
///
/// A request that redeems a grant for single use ([`is_single_use`](crate::credential::is_single_use)) has
/// no fallback at a server of which this is not known: RFC 6749 section 4.1.3 asks for both checks and for
/// no order, and a server that takes the grant first has burnt it by the time it refuses the client.
/// Sending it again would then fail in any case, and a refresh token that comes a second time may end the
/// whole session (RFC 9700 section 4.14.2). So the caller gets the refusal. The
/// [profiles](crate::Profile) know of a few servers that they keep the order; for another one, find out:
///
/// 1. Sign in for a fresh code, and send it with a wrong secret: the server refuses the client.
/// 2. Send the same code with the right secret. A token means that the code was left alone.
/// 3. The same with the refresh token that came with it, and with the one after that.
///
/// Then every [`Verdict::Refused`] of the reader inside becomes [`Verdict::RefusedBeforeGrant`]; all
/// other verdicts stay.
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::verdict::ClientFirst;
/// use keyswap_tower::{ClientSecretPost, FallbackLayer, Profile};
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let layer = FallbackLayer::new(ring, ClientSecretPost::new("billing"))
///     .profile(ClientFirst(Profile::Auth0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientFirst<V>(pub V);

impl<V: ReadVerdict> ReadVerdict for ClientFirst<V> {
    fn read_head(&self, head: &Parts) -> Option<Verdict> {
        self.0.read_head(head).map(before_grant)
    }

    fn read_body(&self, head: &Parts, body: &[u8]) -> Verdict {
        before_grant(self.0.read_body(head, body))
    }
}

fn before_grant(verdict: Verdict) -> Verdict {
    if verdict.is_refusal() { Verdict::RefusedBeforeGrant } else { verdict }
}
