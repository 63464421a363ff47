//! Whole rotations at embedded servers, with every request and every answer checked against the vendor's description.

mod auth0;
mod found;
mod fusionauth;
mod okta;
mod rotation;
