//! What Graph and the token endpoint refuse, in words.

use http::StatusCode;
use keyswap_oauth::{TokenError, TokenErrorKind};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::http::{Answer, error_code};
use super::super::management::no_token;
use super::super::{AuthorityError, AuthorityErrorKind};
use super::Entra;
use super::application::Principal;

/// Application permissions that let secrets be changed.
const CHANGE: [&str; 2] = ["Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"];
/// Others that do so besides.
const MORE: [&str; 1] = ["Directory.ReadWrite.All"];

/// Whether these permissions let secrets be changed, if maybe not those of each application.
pub(super) fn may_change(roles: &[String]) -> bool {
    let mut may = CHANGE.iter().chain(&MORE);
    may.any(|one| roles.iter().any(|role| role == one))
}

#[derive(Deserialize)]
struct Refusal {
    error: OdataError,
}

#[derive(Deserialize)]
struct OdataError {
    code: Option<String>,
    /// Compared, and never shown: it may repeat what was sent.
    #[serde(default)]
    message: Zeroizing<String>,
}

fn refusal(answer: &Answer) -> Option<OdataError> {
    answer.json::<Refusal>().map(|refusal| refusal.error)
}

/// Whether Graph says that there is no secret of this key id.
pub(super) fn knows_no_such_secret(answer: &Answer) -> bool {
    let may_say_so = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
    let says = |error: OdataError| error.message.contains("No password credential found");
    may_say_so && refusal(answer).is_some_and(says)
}

impl Entra {
    fn graph_host(&self) -> &str {
        self.graph.host_str().unwrap_or("an unnamed host")
    }

    pub(super) fn no_token(&self, error: &TokenError) -> AuthorityError {
        let (kind, way_out) = match error.kind() {
            TokenErrorKind::Unreachable => (
                AuthorityErrorKind::Unreachable,
                "check the address of the login service and the network",
            ),
            TokenErrorKind::Refused { status: 401 } => (
                AuthorityErrorKind::Credentials,
                "check the management client's id and secret, and whether that has expired (App registrations > \
                 the management client > Certificates & secrets)",
            ),
            TokenErrorKind::Refused { status: 400 } => (
                AuthorityErrorKind::Credentials,
                "check that the tenant is the right one and knows the management client, and the addresses of the \
                 login service and of Microsoft Graph, which belong together",
            ),
            TokenErrorKind::Refused { status: 429 } => {
                (AuthorityErrorKind::Throttled, "come back later")
            }
            _ => (
                AuthorityErrorKind::Unexpected,
                "check that the address is that of Microsoft's login service, and that no proxy answers for it",
            ),
        };
        no_token(error, kind, &format!("tenant {}: {way_out}", self.tenant))
    }

    pub(super) fn missing_permission(&self, doing: &str) -> AuthorityError {
        let [owned, all] = CHANGE;
        AuthorityError::new(
            AuthorityErrorKind::Permissions,
            format!(
                "the management client may not {doing} (client {}): in the Microsoft Entra admin center, under App \
                 registrations > the management client > API permissions, add the application permission {owned} of \
                 Microsoft Graph and grant admin consent. With {owned} it also has to be an owner of this \
                 application; {all} needs no owner",
                self.client
            ),
        )
    }

    pub(super) fn no_application(
        &self,
        answer: &Answer,
        principal: Option<&Principal>,
    ) -> AuthorityError {
        if refusal(answer).is_none() {
            return self.not_graph(answer);
        }
        let (client, tenant) = (&self.client, &self.tenant);
        match principal {
            Some(principal) if principal.is_managed_identity() => AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "client {client} is a managed identity: Azure keeps and changes its credentials by itself, so \
                     there is no client secret to rotate"
                ),
            ),
            Some(_) => AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "tenant {tenant} has a service principal for client {client} (an enterprise application), and not \
                     the application itself: its secrets are rotated in the tenant where it is registered"
                ),
            ),
            None => AuthorityError::new(
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "tenant {tenant} has no application for client {client}: check the application (client) id, and \
                     the object id where one is given, under App registrations"
                ),
            ),
        }
    }

    pub(super) fn not_graph(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Microsoft Graph: check the address, and that no \
                 proxy answers for it",
                answer.said(),
                self.graph_host()
            ),
        )
    }

    /// The refusal in words. Of the body only the error code is used: messages may repeat what was sent.
    pub(super) fn refused(&self, answer: &Answer, doing: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let Some(error) = refusal(answer) else { return self.not_graph(answer) };
        let code = error.code.and_then(error_code).unwrap_or_default();
        let (client, status) = (&self.client, answer.status.as_u16());
        let refused = |message| AuthorityError::new(AuthorityErrorKind::Refused, message);
        match (answer.status, code.as_str()) {
            (StatusCode::UNAUTHORIZED, _) => AuthorityError::new(
                AuthorityErrorKind::Credentials,
                format!(
                    "Microsoft Graph at {} does not take the management token ({code}): check that the addresses of \
                     the login service and of Microsoft Graph belong together",
                    self.graph_host()
                ),
            ),
            (StatusCode::FORBIDDEN, _) => self.missing_permission(doing),
            (StatusCode::NOT_FOUND, _) => self.no_application(answer, None),
            (_, "CredentialInvalidLifetimeAsPerAppPolicy") => refused(format!(
                "a policy of tenant {} does not let a secret of client {client} be valid for {} days ({code}): set a \
                 shorter lifetime (`lifetime_days`)",
                self.tenant,
                self.lifetime.as_secs() / (24 * 60 * 60)
            )),
            (_, "CredentialTypeNotAllowedAsPerAppPolicy") => refused(format!(
                "a policy of tenant {} does not let client {client} have another secret ({code}): have an \
                 administrator exempt the application (app management policies), or use a certificate",
                self.tenant
            )),
            _ => {
                let code = if code.is_empty() { code } else { format!(" ({code})") };
                refused(format!(
                    "Microsoft Graph refuses to {doing} for client {client} with status {status}{code}"
                ))
            }
        }
    }
}
