//! What travels in the extensions of requests and answers.

use std::time::Instant;

use keyswap_core::SecretId;

/// An extension of each answer that the server gave to an authenticated client.
///
/// An answer without it says nothing certain about the secret: it is an error of another kind, or
/// every secret was refused.
///
/// ```
/// use keyswap_tower::Authenticated;
///
/// fn report(answer: &http::Response<()>) -> String {
///     match answer.extensions().get::<Authenticated>() {
///         Some(with) => format!("signed in with {} at attempt {}", with.id, with.attempts),
///         None => "not signed in".into(),
///     }
/// }
/// # assert_eq!(report(&http::Response::new(())), "not signed in");
/// ```
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

/// An extension of a request that a layer has put a secret on already. A second layer under it passes
/// such a request through: two lists on one request would multiply the attempts.
#[derive(Clone, Copy)]
pub(crate) struct Guarded;
