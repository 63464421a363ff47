//! `$select`: which properties of an entity a request asks for (OData 4.01 URL conventions, section 5.1.3).

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::core::Core;
use crate::parameters::Parameters;

/// The properties that a request names; all of them where it names none. One that there is not is passed over: this
/// server knows fewer than Graph does.
pub(super) struct Selected(Option<Vec<String>>);

impl Selected {
    pub(super) fn by(query: Option<String>) -> Self {
        let parameters = Parameters::from_form(query.unwrap_or_default().as_bytes());
        let parameters = parameters.unwrap_or_default();
        let names = parameters.value("$select").map(|names| names.split(','));
        Self(names.map(|names| names.map(|name| name.trim().to_owned()).collect()))
    }

    /// One entity of this set, as far as it was asked for.
    pub(super) fn of(&self, core: &Core, set: &str, entity: Map<String, Value>) -> Response {
        let names = self.0.as_ref();
        let which = names.map(|names| format!("({})", names.join(","))).unwrap_or_default();
        let context = format!("{}/v1.0/$metadata#{set}{which}/$entity", core.url());
        let mut shown = Map::from_iter([("@odata.context".to_owned(), context.into())]);
        let asked_for = |name: &String| names.is_none_or(|names| names.contains(name));
        shown.extend(entity.into_iter().filter(|(name, _)| asked_for(name)));
        Json(shown).into_response()
    }
}
