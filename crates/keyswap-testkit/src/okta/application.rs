//! An application as the management API shows it: `GET /api/v1/apps/{appId}`, of which the description at hand has no more
//! than the parts below (Applications API, `credentials.oauthClient`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::json;

use super::error;
use super::secrets::on_arrival;
use crate::client::ClientAuthentication;
use crate::core::Core;
use crate::fault::Endpoint;

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::ReadClient, &headers).await {
        return instead;
    }
    core.with_state(|state, _| {
        let Some(client) = state.application(&app) else {
            return error::not_found(&app, "AppInstance");
        };
        let method = match client.authentication {
            ClientAuthentication::SecretPost => "client_secret_post",
            ClientAuthentication::SecretBasic => "client_secret_basic",
            ClientAuthentication::SecretJwt => "client_secret_jwt",
            ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
            ClientAuthentication::None => "none",
        };
        let body = json!({
            "id": app,
            "name": "oidc_client",
            "label": client.name,
            "status": "ACTIVE",
            "signOnMode": "OPENID_CONNECT",
            "credentials": {
                "oauthClient": {
                    "autoKeyRotation": true,
                    "client_id": client.id,
                    "token_endpoint_auth_method": method,
                },
            },
        });
        Json(body).into_response()
    })
}
