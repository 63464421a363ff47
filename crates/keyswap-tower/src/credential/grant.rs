//! Grants that a server takes once.

use http::request::Parts;

use super::parameters::Format;

/// Whether the request redeems a grant that the server may take only once: an authorization code, a
/// refresh token, a device code, the id of a backchannel request, a one-time password, or an assertion.
///
/// The grant type is read from a form or a JSON object; a request without a readable one is not such a
/// request. One that names it twice (RFC 6749 section 3.2 forbids it) is, if one of the two is.
///
/// RFC 6749 section 4.1.2 has a code used once, and a rotated refresh token that comes a second time may
/// end the whole session (RFC 9700 section 4.14.2). So the layer tries another secret for such a request
/// only after [`Verdict::RefusedBeforeGrant`](keyswap_core::Verdict::RefusedBeforeGrant), which proves that
/// the server left the grant alone. After a plain [`Verdict::Refused`](keyswap_core::Verdict::Refused) the
/// answer is the caller's, with a warning in the log; [`ClientFirst`](crate::verdict::ClientFirst) says how
/// to tell whether your server can be trusted with more.
///
/// Not covered is a code that is sent with no grant type, as GitHub and Slack allow. It has a fallback:
/// nothing was issued for it yet that a second use could revoke.
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
    Format::of(&head.headers).is_ok_and(|format| names_single_use(format, body))
}

/// As [`is_single_use`], whatever the head says about the body.
pub(crate) fn may_be_single_use(body: &[u8]) -> bool {
    // The commonest grant in its usual place needs no second look, unless there may be another behind it.
    if let Some(rest @ ([] | [b'&', ..])) = body.strip_prefix(b"grant_type=client_credentials")
        && !rest.contains(&b'%')
        && !rest.windows(11).any(|window| window == b"&grant_type")
    {
        return false;
    }
    names_single_use(Format::Form, body) || names_single_use(Format::Json, body)
}

fn names_single_use(format: Format, body: &[u8]) -> bool {
    format.any(body, "grant_type", |grant| {
        matches!(
            grant,
            "authorization_code"
                | "refresh_token"
                // RFC 8628
                | "urn:ietf:params:oauth:grant-type:device_code"
                // OpenID Connect Client-Initiated Backchannel Authentication
                | "urn:openid:params:grant-type:ciba"
                // RFC 7523 and RFC 7522 section 3: a server may refuse one that it saw before.
                | "urn:ietf:params:oauth:grant-type:jwt-bearer"
                | "urn:ietf:params:oauth:grant-type:saml2-bearer"
                // Codes and one-time passwords at Auth0 (its Authentication API).
                | "http://auth0.com/oauth/grant-type/passwordless/otp"
                | "http://auth0.com/oauth/grant-type/mfa-otp"
                | "http://auth0.com/oauth/grant-type/mfa-oob"
                | "http://auth0.com/oauth/grant-type/mfa-recovery-code"
        )
    })
}
