//! What is asked of an embedded server that is to be like the configured one.

use crate::configuration::OfClient;

const AUDIENCE: &str = "https://api.example/";
/// What a client may ask for at Okta and Hydra.
const SCOPE: &str = "read";

/// The client at such a server, and what its programs ask for, where that is not as with every client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asks {
    pub(crate) client: String,
    pub(crate) audience: Option<String>,
    pub(crate) scope: Option<String>,
    /// At Hydra: whether it keeps secrets of before.
    pub(crate) overlap: Option<bool>,
    /// At a client's registration: whether the client may choose its secret.
    pub(crate) client_chooses: bool,
}

impl Asks {
    /// What a client of a configuration asks for.
    pub(crate) fn of(client: &OfClient<'_>) -> Self {
        let mut asks = Self { client: client.id().to_owned(), ..Self::default() };
        client.configuration.authority.ask(&mut asks);
        let own = |given: Option<&str>, for_all| given.map(str::to_owned).or(for_all);
        asks.audience = own(client.audience(), asks.audience);
        asks.scope = own(client.scope(), asks.scope);
        asks
    }

    pub(super) fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(AUDIENCE)
    }

    pub(super) fn scope(&self) -> &str {
        self.scope.as_deref().unwrap_or(SCOPE)
    }

    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope().split_whitespace()
    }
}
