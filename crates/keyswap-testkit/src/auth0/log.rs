//! The log of the tenant: `GET /api/v2/logs`, which has the token requests of the clients here.
//!
//! Of the vendor's query syntax no more is understood than what selects a client and types of events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::management::authorize;
use super::{VENDOR, error};
use crate::core::Core;
use crate::fault::Endpoint;
use crate::fault_answer::fault_on_arrival;
use crate::parameters::Parameters;
use crate::time::timestamp;

const READ: [&str; 2] = ["read:logs", "read:logs_users"];
/// How many records are kept.
const KEPT: usize = 1000;
/// The vendor gives no more at once.
const LONGEST_PAGE: usize = 100;

/// What was recorded, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<VecDeque<Value>>);

impl Log {
    /// A token request of this client by client credentials was answered with this status.
    pub(super) fn token_request(&self, client: &str, headers: &HeaderMap, status: StatusCode) {
        let brought = status == StatusCode::OK;
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
        let record = json!({
            "date": timestamp(SystemTime::now()),
            "type": if brought { "seccft" } else { "feccft" },
            "client_id": client,
            "client_name": client,
            "ip": "127.0.0.1",
            "user_agent": agent,
        });
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_front(record);
        records.truncate(KEPT);
    }

    fn of(&self, client: &str, query: &str) -> Vec<Value> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let selects = |record: &&Value| {
            let kind = record["type"].as_str().unwrap_or_default();
            record["client_id"] == client
                && (!query.contains("type:") || query.contains(&format!("type:{kind}")))
        };
        records.iter().filter(selects).cloned().collect()
    }
}

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(&core, Endpoint::ReadLog, &VENDOR).await {
        return instead;
    }
    if let Err(response) = authorize(&core, &headers, &READ) {
        return *response;
    }
    let query = query.unwrap_or_default();
    let Ok(parameters) = Parameters::from_form(query.as_bytes()) else {
        return error::invalid_query("'Malformed query string'.");
    };
    let asked = parameters.value("q").unwrap_or_default();
    let client = asked.split_once("client_id:\"").and_then(|(_, rest)| rest.split_once('"'));
    let Some((client, _)) = client else {
        return error::invalid_query("'A query here selects a client_id'.");
    };
    let page = parameters.value("per_page").and_then(|page| page.parse().ok()).unwrap_or(50);
    if page > LONGEST_PAGE {
        return error::invalid_query("'Value is greater than maximum 100' on property per_page.");
    }
    let mut records = core.log.of(client, asked);
    if parameters.value("sort") != Some("date:-1") {
        records.reverse();
    }
    records.truncate(page);
    Json(records).into_response()
}
