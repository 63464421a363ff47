//! The admin half of keyswap: changing a client's secret at an authorization server as a protocol that
//! survives a crash at any instant.
//!
//! - [`Authority`] is what one server can do: [`Auth0`], [`Entra`], [`Hydra`], [`Keycloak`], [`Okta`] and [`Zitadel`] are some,
//!   [`Exec`] is any other, by way of a program of yours.
//! - [`rotation`] is the protocol as pure functions: states, gates, and one `step`.
//! - [`Rotator`] carries the steps out against an authority and a store; [`several`] does so for many
//!   clients, some at once.
//!
//! The order is what makes it safe. The new secret is in the journal before anybody hears of it, in
//! every program before the server knows it (where it holds one secret) or before any program leads with it, proved at the server before it is preferred, and the old
//! one is taken away only when every instance has attested that it is unused.
#![forbid(unsafe_code)]

pub mod authority;
mod error;
mod finding;
mod progress;
pub mod rotation;
mod rotator;
mod several;
mod term;

pub use authority::{
    Auth0, Authority, AuthorityError, AuthorityErrorKind, ClientAuthentication, Entra, Exec,
    FusionAuth, Hydra, Keycloak, Okta, Registration, Zitadel,
};
pub use error::{RotateError, RotateErrorKind};
pub use finding::{Finding, Findings, Level, Subject};
pub use progress::{Awaited, Progress};
pub use rotation::{Application, RotationPolicy, State};
pub use rotator::{
    Finished, Rotator, Status, confirm, hold, leave_out, release_hold, verify_history,
    verify_server,
};
pub use several::several;
