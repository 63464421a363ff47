//! Whole rotations at embedded servers, with every request and every answer checked against the vendor's description.

mod auth0;
mod entra;
mod found;
mod fusionauth;
mod hydra;
mod keycloak;
mod okta;
mod registration;
mod rotation;
mod wso2;
