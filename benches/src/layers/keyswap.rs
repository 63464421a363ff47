//! keyswap.

use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Fallback, FallbackLayer, Profile};
use tower::Layer;

use super::{CLIENT_ID, FIRST, SECOND};

/// A list of this many secrets, the two that the others know first.
pub(crate) fn list(secrets: usize) -> SecretList {
    let values = [FIRST.to_owned(), SECOND.to_owned()].into_iter();
    let more = (2..).map(|number| format!("Zk4pTe8QwRn1Ls7DxHv2Mb9YcGf5Ju3SaXo6Wi0{number}"));
    let all = values.chain(more).enumerate().map(|(position, value)| {
        let id = format!("secret-{position}").parse().expect("a valid id");
        Secret::new(id, value).expect("a valid secret")
    });
    SecretList::new(all.take(secrets)).expect("at least one secret, all different")
}

/// The layer with a ring of this many secrets.
pub(crate) fn layer(secrets: usize) -> FallbackLayer<ClientSecretBasic> {
    let ring = SecretRing::new(list(secrets));
    FallbackLayer::new(ring, ClientSecretBasic::new(CLIENT_ID)).profile(Profile::Rfc6749)
}

/// The secret in an `Authorization` header.
pub(crate) fn basic<S>(
    secrets: usize,
) -> impl FnOnce(S) -> Fallback<S, ClientSecretBasic, Profile> {
    move |inner| layer(secrets).layer(inner)
}

/// The secret in the form.
pub(crate) fn post<S>(inner: S) -> Fallback<S, ClientSecretPost, Profile> {
    FallbackLayer::new(SecretRing::new(list(2)), ClientSecretPost::new(CLIENT_ID))
        .profile(Profile::Rfc6749)
        .layer(inner)
}
