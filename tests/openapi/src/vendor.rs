//! What a vendor describes, and the check of an exchange against it.

use std::collections::BTreeMap;
use std::fmt;

use http::{Method, Response};
use keyswap_testkit::Exchange;

use crate::body::{self, Body};
use crate::description::Description;
use crate::operation::Operation;
use crate::parameters;
use crate::schema::Direction;

/// The descriptions of one vendor, and what they leave out.
pub struct Vendor {
    name: &'static str,
    descriptions: Vec<Description>,
    undescribed: Vec<(Method, String)>,
    also_answers: Vec<(String, u16)>,
    also_takes: Vec<(String, String)>,
}

/// What does not agree with the description. It names the operation, and repeats no value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    operation: String,
    reasons: Vec<String>,
}

impl Vendor {
    /// A vendor with these descriptions, each in JSON.
    ///
    /// # Panics
    ///
    /// If one of them is not JSON.
    #[must_use]
    pub fn new(name: &'static str, descriptions: &[&str]) -> Self {
        Self {
            name,
            descriptions: descriptions.iter().map(|text| Description::parse(text)).collect(),
            undescribed: Vec::new(),
            also_answers: Vec::new(),
            also_takes: Vec::new(),
        }
    }

    /// A request that no description has and that is not checked: a path without a query, in which `{}` stands for any
    /// segment.
    ///
    /// # Panics
    ///
    /// If the method is none.
    #[must_use]
    pub fn undescribed(mut self, method: &str, path: &str) -> Self {
        self.undescribed.push((method.parse().expect("a method"), path.to_owned()));
        self
    }

    /// A status that an operation is known to answer with in another way than its description says, or although that
    /// does not name it. The body of such an answer is not checked.
    #[must_use]
    pub fn also_answers(mut self, operation: &str, status: u16) -> Self {
        self.also_answers.push((operation.to_owned(), status));
        self
    }

    /// A parameter in the form of a request that an operation is known to take although its description does not name it.
    #[must_use]
    pub fn also_takes(mut self, operation: &str, parameter: &str) -> Self {
        self.also_takes.push((operation.to_owned(), parameter.to_owned()));
        self
    }

    /// Whether an exchange is one of those that the vendor describes, and which; `None` if it was said to be
    /// [`undescribed`](Self::undescribed).
    ///
    /// Compared are the method and path, the parameters (also that there are no others), the credentials that
    /// `security` asks for, the media types, the bodies of request and answer, the status, and those headers of an answer
    /// that are described. Beyond OpenAPI's own rules, a member of a body that is not described is a mismatch, unless the
    /// schema says that others may come, or was cut and it comes from the server. An answer with a status of 500 or more
    /// that is not described is no answer of the operation, but of something on the way: there the request alone is
    /// checked.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] with all that does not agree.
    pub fn check(&self, exchange: &Exchange) -> Result<Option<String>, Mismatch> {
        let request = &exchange.request;
        let (method, path) = (request.method(), request.uri().path());
        let found = self.descriptions.iter().find_map(|one| one.operation(method, path));
        let Some(operation) = found else {
            return match self.is_undescribed(method, path) {
                true => Ok(None),
                false => Err(self.no_such_operation(method, path)),
            };
        };
        let mut reasons = parameters::check(&operation, request);
        reasons.extend(self.check_request_body(&operation, exchange));
        if let Some(answer) = &exchange.answer {
            reasons.extend(self.check_answer(&operation, answer));
        }
        match reasons.is_empty() {
            true => Ok(Some(operation.id())),
            false => {
                let Operation { method, template, .. } = &operation;
                let operation = format!("{}: {} ({method} {template})", self.name, operation.id());
                Err(Mismatch { operation, reasons })
            }
        }
    }

    /// Checks each of these exchanges, and counts them by operation; what is undescribed is not counted.
    ///
    /// # Panics
    ///
    /// With every mismatch, if there is one.
    #[track_caller]
    #[must_use]
    pub fn assert_described(&self, exchanges: &[Exchange]) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        let mut mismatches = Vec::new();
        for exchange in exchanges {
            match self.check(exchange) {
                Ok(Some(operation)) => *seen.entry(operation).or_default() += 1,
                Ok(None) => {}
                Err(mismatch) => mismatches.push(mismatch.to_string()),
            }
        }
        mismatches.dedup();
        assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
        seen
    }

    /// How many operations are described, each with schemas that can be checked against.
    ///
    /// # Panics
    ///
    /// If a schema is none.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.descriptions.iter().flat_map(Description::operations).map(|one| one.prepare()).count()
    }

    fn is_undescribed(&self, method: &Method, path: &str) -> bool {
        self.undescribed.iter().any(|(own, template)| {
            let mut segments = template.split('/').zip(path.split('/'));
            own == method
                && template.split('/').count() == path.split('/').count()
                && segments.all(|(expected, found)| expected == "{}" || expected == found)
        })
    }

    fn no_such_operation(&self, method: &Method, path: &str) -> Mismatch {
        let known: Vec<String> =
            self.descriptions.iter().flat_map(Description::known_paths).collect();
        Mismatch {
            operation: format!("{}: {method} {path}", self.name),
            reasons: vec![format!("no operation is described for it, but {}", known.join(", "))],
        }
    }

    fn check_answer(
        &self,
        operation: &Operation<'_>,
        answer: &Response<impl AsRef<[u8]>>,
    ) -> Vec<String> {
        let status = answer.status();
        if self.also_answers.contains(&(operation.id(), status.as_u16())) {
            return Vec::new();
        }
        let Some(described) = operation.answer(status) else {
            return match status.is_server_error() {
                true => Vec::new(),
                false => {
                    vec![format!("an answer with status {} is not described", status.as_u16())]
                }
            };
        };
        let bytes = answer.body().as_ref();
        let mut wrong = parameters::check_headers(operation, described, answer.headers());
        match described.get("content") {
            Some(content) => {
                let sent = Body { headers: answer.headers(), bytes, also_takes: &[] };
                wrong.extend(body::check(operation, content, &sent, Direction::Answer));
            }
            // Errors without a described body have one all the same.
            None if status.is_success() && !bytes.is_empty() => {
                wrong.push("the answer has a body, and none is described".to_owned());
            }
            None => {}
        }
        wrong
    }

    fn check_request_body(&self, operation: &Operation<'_>, exchange: &Exchange) -> Vec<String> {
        let bytes = exchange.request.body();
        match operation.request_body() {
            None if bytes.is_empty() => Vec::new(),
            None => vec!["the request has a body, and none is described".to_owned()],
            Some((_, false)) if bytes.is_empty() => Vec::new(),
            Some((_, true)) if bytes.is_empty() => vec!["the request has no body".to_owned()],
            Some((content, _)) => {
                let id = operation.id();
                let known = self.also_takes.iter().filter(|(own, _)| *own == id);
                let also_takes: Vec<&str> = known.map(|(_, name)| name.as_str()).collect();
                let headers = exchange.request.headers();
                let sent = Body { headers, bytes, also_takes: &also_takes };
                body::check(operation, content, &sent, Direction::Request)
            }
        }
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vendor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.reasons.join("; "))
    }
}

impl std::error::Error for Mismatch {}
