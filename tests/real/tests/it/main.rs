//! Everything that needs servers and clients that other people wrote: one program, so that it ends with one summary.

mod auth0_sdk;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "aws")]
mod cognito_sdk;
#[cfg(feature = "etcd")]
mod etcd;
mod exec;
mod graph_sdk;
mod hydra;
mod keycloak;
mod oidc_provider;
mod okta_sdk;
mod proxy;
mod registration;
mod report;
