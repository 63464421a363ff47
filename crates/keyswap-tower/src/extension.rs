//! What travels in the extensions of requests and answers.

use std::time::Instant;

use keyswap_core::SecretId;

/// The secret that the server accepted for a request.
///
/// [`AnswerBody::authenticated`](crate::AnswerBody::authenticated) has it, and the extensions of the answer
/// where [`FallbackLayer::mark_answers`](crate::FallbackLayer::mark_answers) asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Authenticated {
    /// The secret that the server accepted.
    pub id: SecretId,
    /// How many attempts it took: 1 when the first secret was accepted.
    pub attempts: u32,
    /// Whether this request made that secret the preferred one.
    pub promoted: bool,
}

/// An extension of a request: no pause between attempts reaches past this time.
///
/// A timeout around the layer drops the request wherever it is. With this extension, the answer that
/// there is comes back instead.
///
/// ```
/// use std::time::{Duration, Instant};
/// use keyswap_tower::Deadline;
///
/// let request = http::Request::post("https://auth.example/token")
///     .extension(Deadline(Instant::now() + Duration::from_secs(2)))
///     .body("grant_type=client_credentials")?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadline(pub Instant);

/// An extension of a request that goes out once, with the preferred secret, while its body is still being
/// made: a stream whose sender waits for the answer before it goes on.
///
/// The layer holds a body of unknown length until it ends or is over
/// [`max_body`](crate::FallbackLayer::max_body), and such a body may do neither. With this extension
/// nothing of it is held; there is no fallback, and the answer is the caller's.
///
/// ```
/// use keyswap_tower::SendOnce;
///
/// let request = http::Request::post("https://ledger.example/ledger.Ledger/Talk")
///     .extension(SendOnce)
///     .body("a stream")?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SendOnce;

/// An extension of an answer to a request on which a layer found a secret already, and put its own in the
/// place of it: that of the caller, or that of another layer above. If there is one it must not go on, since
/// its own secrets never reached the server, and two lists on one request would multiply the attempts.
///
/// The layer below knows, not the one above: so a request that meets one layer carries nothing for this.
#[derive(Clone)]
pub(crate) struct SignedBelow(pub(crate) Option<Authenticated>);
