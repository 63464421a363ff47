//! The access keys of the account: what was registered as API tokens, and what each of them may do.

use http::HeaderMap;

use crate::core::unix_now;
use crate::fault::Endpoint;
use crate::provider::ApiToken;

/// The session token of a temporary one says until which second it is valid.
const SESSION: &str = "until-";
const TEMPORARY: &str = "ASIA";

pub(super) struct AccessKey<'a> {
    id: &'a str,
    pub(super) key: &'a str,
    /// Nothing else, if there is such a list.
    actions: Option<&'a str>,
    reads_only: bool,
}

/// Whether a temporary key counts with what comes beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Session {
    Valid,
    Invalid,
    Expired,
}

impl<'a> AccessKey<'a> {
    /// The one with this id.
    pub(super) fn among(tokens: &'a [ApiToken], id: &str) -> Option<Self> {
        let mut keys = tokens.iter().filter_map(Self::of);
        keys.find(|key| key.id == id)
    }

    fn of(token: &'a ApiToken) -> Option<Self> {
        let mut parts = token.token.splitn(3, ':');
        let (id, key, actions) = (parts.next()?, parts.next()?, parts.next());
        Some(Self { id, key, actions, reads_only: token.reads_only })
    }

    pub(super) fn session(&self, headers: &HeaderMap) -> Session {
        let token = headers.get("x-amz-security-token").map(|token| token.to_str().unwrap_or(""));
        match (self.id.starts_with(TEMPORARY), token) {
            (false, None) => Session::Valid,
            (true, Some(token)) => match token.strip_prefix(SESSION).map(str::parse::<u64>) {
                Some(Ok(end)) if end > unix_now() => Session::Valid,
                Some(Ok(_)) => Session::Expired,
                _ => Session::Invalid,
            },
            _ => Session::Invalid,
        }
    }

    pub(super) fn may(&self, action: &str, endpoint: Endpoint) -> bool {
        let listed = |actions: &str| actions.split(',').any(|one| one == action);
        self.actions.is_none_or(listed) && (endpoint.reads() || !self.reads_only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token: &str) -> ApiToken {
        ApiToken { token: token.to_owned(), reads_only: false }
    }

    fn with(session: &str) -> HeaderMap {
        [("x-amz-security-token".parse().unwrap(), session.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_key_is_found_by_its_id_and_may_do_what_it_is_given() {
        let tokens = [token("AKIDALL:a/key"), token("AKIDSOME:other:List,Describe"), token("none")];
        assert!(AccessKey::among(&tokens, "none").is_none());
        let all = AccessKey::among(&tokens, "AKIDALL").unwrap();
        assert_eq!(all.key, "a/key");
        assert!(all.may("Add", Endpoint::AddSecret));
        let some = AccessKey::among(&tokens, "AKIDSOME").unwrap();
        assert!(some.may("List", Endpoint::ListSecrets));
        assert!(!some.may("Add", Endpoint::AddSecret));
        let reader = ApiToken { reads_only: true, ..token("AKIDREAD:key") };
        let reader = AccessKey::of(&reader).unwrap();
        assert!(reader.may("List", Endpoint::ListSecrets));
        assert!(!reader.may("Add", Endpoint::AddSecret));
    }

    #[test]
    fn a_temporary_key_wants_a_session_that_is_not_over_and_another_one_wants_none() {
        let (temporary, lasting) = (token("ASIATEMPORARY:key"), token("AKIDEXAMPLE:key"));
        let temporary = AccessKey::of(&temporary).unwrap();
        assert_eq!(temporary.session(&with("until-99999999999")), Session::Valid);
        assert_eq!(temporary.session(&with("until-1")), Session::Expired);
        assert_eq!(temporary.session(&with("other")), Session::Invalid);
        assert_eq!(temporary.session(&HeaderMap::new()), Session::Invalid);
        let lasting = AccessKey::of(&lasting).unwrap();
        assert_eq!(lasting.session(&HeaderMap::new()), Session::Valid);
        assert_eq!(lasting.session(&with("until-99999999999")), Session::Invalid);
    }
}
