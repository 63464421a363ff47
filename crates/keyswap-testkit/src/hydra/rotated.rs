//! `POST` and `DELETE /admin/clients/{id}/secrets/rotate`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use rand::seq::IndexedRandom;

use super::client::{answer, carry_out, method, on_arrival};
use super::error;
use crate::core::Core;
use crate::fault::Endpoint;
use crate::several::Act;
use crate::state::random_slot_id;

/// What `x.GenerateSecret` chooses from.
const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";

pub(crate) async fn rotate(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    let endpoint = Endpoint::AddSecret;
    if let Some(instead) = on_arrival(&core, endpoint).await {
        return instead;
    }
    if let Some(refusal) = refusal(&core, &id) {
        return refusal;
    }
    let secret = random();
    let act = Act::Rotate { id: random_slot_id(), secret: secret.clone() };
    match carry_out(&core, endpoint, &id, act).await {
        Some(instead) => instead,
        None => answer(&core, &id, Some(&secret)),
    }
}

pub(crate) async fn clear(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    let endpoint = Endpoint::RemoveSecret;
    if let Some(instead) = on_arrival(&core, endpoint).await {
        return instead;
    }
    if let Some(refusal) = refusal(&core, &id) {
        return refusal;
    }
    match carry_out(&core, endpoint, &id, Act::ClearRotated).await {
        Some(instead) => instead,
        None => answer(&core, &id, None),
    }
}

/// 26 of them.
fn random() -> String {
    let mut random = rand::rng();
    let chosen = (0..26).filter_map(|_| CHARACTERS.choose(&mut random));
    chosen.map(|byte| char::from(*byte)).collect()
}

fn refusal(core: &Core, id: &str) -> Option<Response> {
    core.with_state(|state, _| match state.client(id) {
        None => Some(error::no_such_client()),
        Some(client) if !client.authentication.sends_secret() => {
            Some(error::no_secret(method(client.authentication)))
        }
        Some(_) => None,
    })
}
