//! Grants that a server takes once.

use http::request::Parts;

use super::parameters::Format;

/// Whether the request redeems a grant that the server may take only once: an authorization code, a
/// refresh token, a device code, the id of a backchannel request, or an assertion.
///
/// The grant type is read from a form or a JSON object; a request without a readable one is not such a
/// request. A parameter that is named twice is not readable (RFC 6749 section 3.2 forbids it).
///
/// Such a grant deserves more care than client credentials do. RFC 6749 section 4.1.2 has a code used
/// once, and a rotated refresh token that comes a second time may end the whole session (RFC 9700
/// section 4.14.2). Falling back is right only where the answer proves that client authentication
/// failed *before* the server looked at the grant. That is what
/// [`Verdict::Refused`](keyswap_core::Verdict::Refused) says in every [`Profile`](crate::Profile), so
/// the layer treats these requests as it does others: a refusal of the client leads on, and an
/// `invalid_grant` never does. A [`ReadVerdict`](crate::ReadVerdict) of your own has to keep to the same
/// for requests that this function names.
///
/// ```
/// use keyswap_tower::credential::is_single_use;
///
/// let (head, body) = http::Request::post("https://auth.example/token")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body("grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA")?
///     .into_parts();
/// assert!(is_single_use(&head, body.as_bytes()));
/// assert!(!is_single_use(&head, b"grant_type=client_credentials"));
/// # Ok::<(), http::Error>(())
/// ```
#[must_use]
pub fn is_single_use(head: &Parts, body: &[u8]) -> bool {
    let Ok(format) = Format::of(&head.headers) else { return false };
    format.text(body, "grant_type").is_some_and(|grant| {
        matches!(
            &*grant,
            "authorization_code"
                | "refresh_token"
                // RFC 8628
                | "urn:ietf:params:oauth:grant-type:device_code"
                // OpenID Connect Client-Initiated Backchannel Authentication
                | "urn:openid:params:grant-type:ciba"
                // RFC 7523 and RFC 7522 section 3: a server may refuse one that it saw before.
                | "urn:ietf:params:oauth:grant-type:jwt-bearer"
                | "urn:ietf:params:oauth:grant-type:saml2-bearer"
        )
    })
}
