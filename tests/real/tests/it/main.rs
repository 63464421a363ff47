//! Everything that needs servers and clients that other people wrote: one program, so that it ends with one summary.

mod auth0_sdk;
mod hydra;
mod oidc_provider;
