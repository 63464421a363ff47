//! The admin half of keyswap: changing a client's secret at an authorization server as a protocol that
//! survives a crash at any instant.
//!
//! - [`Authority`] is what one server can do: [`Auth0`], [`Entra`], [`Hydra`], [`Keycloak`], [`Okta`] and [`Zitadel`] are some,
//!   `Cognito` is one more with the feature of that name, and [`Exec`] is any other, by way of a program of yours.
//! - [`rotation`] is the protocol as pure functions: states, gates, and one `step`.
//! - [`report`] puts together what is on record of a rotation.
//! - [`Rotator`] carries the steps out against an authority and a store; [`several`] does so for many
//!   clients, some at once.
//!
//! The order is what makes it safe. The new secret is in the journal before anybody hears of it, in
//! every program before the server knows it (where it holds one secret) or before any program leads with it, proved at the server before it is preferred, and the old
//! one is taken away only when every instance has attested that it is unused.
//!
//! # Traces
//!
//! A [`Rotator`] tells [`tracing`] what it does, with ids of secrets and never a value:
//!
//! - a span `rotation` (info) for each call of [`run`](Rotator::run), [`resume`](Rotator::resume),
//!   [`rollback`](Rotator::rollback) and [`retire`](Rotator::retire), with `keyswap.client_id`, `keyswap.command`,
//!   `keyswap.rotation_id` (the same for each process that is at a rotation), `keyswap.direction`,
//!   `keyswap.old_secret_id`, `keyswap.new_secret_id` and `keyswap.outcome`;
//! - under it a span `state` (info) for each state, with `keyswap.state`, `keyswap.direction` and `keyswap.revision`;
//! - in that, events for requests to the server and their answers (debug), for gates that wait (info), and for who is
//!   left behind (warn).
//!
//! `otel.name`, `otel.kind`, `otel.status_code` and `error.type` are as `tracing-opentelemetry` reads them. A rotation that
//! only waits has no error.
#![forbid(unsafe_code)]

pub mod authority;
pub mod crash;
mod error;
mod finding;
mod planned;
mod progress;
pub mod report;
pub mod rotation;
mod rotator;
mod several;
mod term;

#[cfg(feature = "cognito")]
pub use authority::Cognito;
pub use authority::{
    Auth0, Authority, AuthorityError, AuthorityErrorKind, ClientAuthentication, Entra, Exec,
    FusionAuth, Hydra, Keycloak, Okta, Registration, Wso2, Zitadel,
};
pub use error::{RotateError, RotateErrorKind};
pub use finding::{Finding, Findings, Level, Subject};
pub use planned::{
    Declared, Exposure, Fingerprint, Ground, NotAFingerprint, Outline, Planned, PlannedStep,
};
pub use progress::{Awaited, Progress};
pub use rotation::{Application, RotationPolicy, State};
pub use rotator::{
    Age, AgeSource, Finished, Rotator, Status, age, confirm, hold, leave_out, release_hold,
    verify_history, verify_server,
};
pub use several::several;
