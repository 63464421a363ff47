//! When each password was last used: `GET /beta/reports/appCredentialSignInActivities`.
//!
//! Of the query no more is understood than what selects an application. A sign-in is in the report at once; the vendor's
//! is behind, and does not say how far.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::{Value, json};

use super::application::on_arrival;
use super::error;
use crate::core::Core;
use crate::fault::Endpoint;
use crate::parameters::Parameters;
use crate::time::timestamp;

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::ReadLog, &headers).await {
        return instead;
    }
    let parameters = Parameters::from_form(query.unwrap_or_default().as_bytes());
    let parameters = parameters.unwrap_or_default();
    let filter = parameters.value("$filter").unwrap_or_default();
    let client = filter.strip_prefix("appId eq '").and_then(|rest| rest.strip_suffix('\''));
    let Some(client) = client else { return error::bad_filter() };
    core.with_state(|state, now| {
        let client = state.client(client);
        let used = client.and_then(|client| Some((client, client.several()?)));
        let activities: Vec<Value> = used
            .into_iter()
            .flat_map(|(client, secrets)| {
                let used = secrets.listed(now).filter_map(|entry| Some((entry, entry.used?)));
                used.map(move |(entry, used)| {
                    json!({
                        "id": format!("{}|application", entry.id),
                        "keyId": entry.id,
                        "keyType": "clientSecret",
                        "keyUsage": "verify",
                        "appId": client.id,
                        "appObjectId": client.application,
                        "credentialOrigin": "application",
                        "createdDateTime": timestamp(entry.created),
                        "expirationDateTime": entry.details.ends.map(timestamp),
                        "signInActivity": {
                            "lastSignInDateTime": timestamp(used),
                            "lastSignInRequestId": "00000000-0000-0000-0000-000000000004",
                        },
                    })
                })
            })
            .collect();
        let context =
            format!("{}/beta/$metadata#reports/appCredentialSignInActivities", core.url());
        Json(json!({ "@odata.context": context, "value": activities })).into_response()
    })
}
