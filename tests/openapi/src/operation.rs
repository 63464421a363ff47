//! One operation of a description, and what it says of requests and answers.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::description::Description;
use crate::schema::{Direction, validator};

/// What one request is for.
pub(crate) struct Operation<'a> {
    pub(crate) description: &'a Description,
    pub(crate) method: Method,
    pub(crate) template: String,
    /// What the path of the request says in place of the template's variables.
    pub(crate) variables: Vec<(String, String)>,
    /// What all methods of the path share.
    pub(crate) item: &'a Value,
    pub(crate) operation: &'a Value,
}

impl<'a> Operation<'a> {
    /// Its `operationId`, or else its method and path.
    pub(crate) fn id(&self) -> String {
        let id = self.operation["operationId"].as_str();
        id.map_or_else(|| format!("{} {}", self.method, self.template), str::to_owned)
    }

    pub(crate) fn parameters(&self) -> Vec<&'a Value> {
        let of = |owner: &'a Value| owner["parameters"].as_array().into_iter().flatten();
        let all = of(self.item).chain(of(self.operation));
        all.map(|parameter| self.description.resolved(parameter)).collect()
    }

    /// The alternatives of `security`: its own, or else those of the whole description.
    pub(crate) fn security(&self) -> Option<&'a Vec<Value>> {
        let own = self.operation.get("security");
        own.or_else(|| self.description.document().get("security"))?.as_array()
    }

    /// The content of the request by media type, and whether there has to be some.
    pub(crate) fn request_body(&self) -> Option<(&'a Value, bool)> {
        let body = self.description.resolved(self.operation.get("requestBody")?);
        Some((&body["content"], body["required"] == true))
    }

    /// Makes the validators of all its schemas, which fails where one of them is none.
    pub(crate) fn prepare(&self) {
        let document = self.description.document();
        for parameter in self.parameters() {
            let _ = validator(document, &parameter["schema"], Direction::Request);
        }
        let answers = self.operation["responses"].as_object().into_iter().flatten();
        let answers: Vec<&Value> =
            answers.map(|(_, answer)| self.description.resolved(answer)).collect();
        for (_, header) in answers.iter().filter_map(|one| one["headers"].as_object()).flatten() {
            let _ = validator(document, &header["schema"], Direction::Answer);
        }
        let answers = answers.iter().map(|answer| (&answer["content"], Direction::Answer));
        let request = self.request_body().map(|(content, _)| (content, Direction::Request));
        for (content, direction) in answers.chain(request) {
            for (_, media) in content.as_object().into_iter().flatten() {
                let _ = validator(document, &media["schema"], direction);
            }
        }
    }

    /// What it says of answers with this status: by the status, its class, or `default`.
    pub(crate) fn answer(&self, status: StatusCode) -> Option<&'a Value> {
        let answers = &self.operation["responses"];
        let class = format!("{}XX", status.as_u16() / 100);
        let found = answers
            .get(status.as_str())
            .or_else(|| answers.get(class))
            .or_else(|| answers.get("default"))?;
        Some(self.description.resolved(found))
    }
}
