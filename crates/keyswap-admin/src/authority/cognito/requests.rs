//! The calls: AWS JSON 1.1, each a signed `POST` whose header says which it is.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::described::asking;
use super::super::http::{Answer, MOST_ASKED, leased_body, lost, send, unreachable};
use super::super::pace::Said;
use super::super::{AuthorityError, ChangeAnswer};
use super::pool::Cognito;
use super::refusal;

const TARGET: &str = "AWSCognitoIdentityProviderService.";
const JSON: &str = "application/x-amz-json-1.1";

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Add,
    Delete,
    Describe,
    List,
}

impl Action {
    pub(super) const ALL: [Self; 4] = [Self::Describe, Self::List, Self::Add, Self::Delete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "AddUserPoolClientSecret",
            Self::Delete => "DeleteUserPoolClientSecret",
            Self::Describe => "DescribeUserPoolClient",
            Self::List => "ListUserPoolClientSecrets",
        }
    }

    /// After "refuses to".
    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Add => "add a secret",
            Self::Delete => "delete one of the secrets",
            Self::Describe => "read the settings",
            Self::List => "list the secrets",
        }
    }
}

enum Failure {
    /// Nothing was sent.
    NoCredentials(String),
    Lost(reqwest::Error),
}

impl Cognito {
    /// Asks about the app client, and asks again while the server says that there were too many requests.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        action: Action,
    ) -> Result<T, AuthorityError> {
        let body = json!({ "UserPoolId": self.pool, "ClientId": self.client });
        let body = Bytes::from(body.to_string());
        let mut asked = 1;
        loop {
            let answer = asking(self.call(action, &body)).await;
            let answer = answer.map_err(|failure| match failure {
                Failure::NoCredentials(reason) => self.no_credentials(&reason),
                Failure::Lost(error) => unreachable(&self.endpoint, &error),
            })?;
            // The pace has taken in how long to wait.
            if refusal::turned_away(&answer).is_some() && asked < MOST_ASKED {
                asked += 1;
                continue;
            }
            if !answer.status.is_success() {
                return Err(self.refused(&answer, action));
            }
            return answer.json().ok_or_else(|| self.not_cognito(&answer));
        }
    }

    /// Asks for a change, once. The answer is one of success.
    pub(super) async fn change(&self, action: Action, body: Bytes) -> Result<Answer, ChangeAnswer> {
        let answer = self.call(action, &body).await.map_err(|failure| match failure {
            Failure::NoCredentials(reason) => ChangeAnswer::Refused(self.no_credentials(&reason)),
            Failure::Lost(error) => ChangeAnswer::Unknown(lost(&error)),
        })?;
        if let Some(pause) = refusal::turned_away(&answer) {
            return Err(ChangeAnswer::RetryAfter(pause));
        }
        // The list tells whether it is gone.
        if action == Action::Delete && refusal::knows_no_such_secret(&answer) {
            return Err(ChangeAnswer::Applied);
        }
        match answer.as_change(|| self.refused(&answer, action)) {
            Some(change) => Err(change),
            None => Ok(answer),
        }
    }

    /// Sends a request. One whose credentials are refused was turned away before it was looked at: where AWS's own tools
    /// have others by now, the same is sent once more with these.
    async fn call(&self, action: Action, body: &Bytes) -> Result<Answer, Failure> {
        let answer = self.send(action, body).await?;
        if refusal::refuses_credentials(&answer) && self.signer.has_others().await {
            return self.send(action, body).await;
        }
        Ok(answer)
    }

    async fn send(&self, action: Action, body: &Bytes) -> Result<Answer, Failure> {
        // A signature is good for minutes, and a turn may be further away than that.
        self.turns.take_ahead().await;
        let target = format!("{TARGET}{}", action.name());
        let headers = [(CONTENT_TYPE.as_str(), JSON), ("x-amz-target", target.as_str())];
        let signed = self.signer.sign(self.endpoint.as_str(), &headers, body).await;
        let mut request = self.http.post(self.endpoint.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.headers(signed.map_err(Failure::NoCredentials)?);
        let answer = send(&self.turns, request.body(leased_body(body.clone()))).await;
        let answer = answer.map_err(Failure::Lost)?;
        // Said with 400, so the pace has not heard of it.
        if let Some(pause) = refusal::turned_away(&answer) {
            self.turns.pace.told(&Said { turned_away: Some(pause), ..Said::default() });
        }
        Ok(answer)
    }
}
