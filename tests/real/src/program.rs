//! Programs that sign in: what a user of keyswap writes, with the layer and with the middleware.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use keyswap_core::SecretRing;
use keyswap_reqwest::{FallbackMiddleware, ReqwestService};
use keyswap_tower::{Authenticated, Credential, FallbackLayer, Profile};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt};

use crate::SignIn;

/// A sign-in on its way.
pub type Signing = Pin<Box<dyn Future<Output = Result<SignIn, String>> + Send>>;

type Answering = Pin<Box<dyn Future<Output = Result<(SignIn, Value), String>> + Send>>;

const FORM: &str = "application/x-www-form-urlencoded";

/// Where and how a program signs in.
#[derive(Debug)]
pub struct Program<C> {
    /// The token endpoint.
    pub endpoint: String,
    /// The parameters of the request, form-encoded, without what the credential adds.
    pub parameters: Cow<'static, str>,
    /// The secrets.
    pub ring: SecretRing,
    /// The client authentication method.
    pub credential: C,
    /// How the server refuses a secret.
    pub profile: Profile,
}

impl<C> Program<C>
where
    C: Credential + Clone + Send + Sync + 'static,
{
    /// Signs in through [`FallbackLayer`] around a plain reqwest client.
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub fn with_layer(self) -> impl Fn() -> Signing + Send + 'static {
        let request = self.repeated();
        move || {
            let answer = request();
            Box::pin(async move { answer.await.map(|(sign_in, _)| sign_in) })
        }
    }

    /// Makes one request through [`FallbackLayer`], and gives the server's answer with it: the program is one that
    /// redeems a code or a refresh token.
    ///
    /// # Errors
    ///
    /// What the server said, where it gave no token.
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub async fn once(self) -> Result<(SignIn, Value), String> {
        self.repeated()().await
    }

    fn repeated(self) -> impl Fn() -> Answering + Send + 'static {
        let http = keyswap_reqwest::client_builder().build().expect("a client");
        let layer =
            FallbackLayer::new(self.ring, self.credential).profile(self.profile).mark_answers(true);
        let service = ServiceBuilder::new().layer(layer).service(ReqwestService::new(http));
        move || {
            let service = service.clone();
            let request = Request::post(&self.endpoint)
                .header(CONTENT_TYPE, FORM)
                .body(reqwest::Body::from(self.parameters.clone().into_owned()))
                .expect("a request");
            Box::pin(async move {
                let answer = service.oneshot(request).await.map_err(|error| error.to_string())?;
                judge(answer).await
            })
        }
    }

    /// Signs in through [`FallbackMiddleware`].
    ///
    /// # Panics
    ///
    /// When no client can be made.
    pub fn with_middleware(self) -> impl Fn() -> Signing + Send + 'static {
        let http = keyswap_reqwest::client_builder().build().expect("a client");
        let fallback = FallbackMiddleware::new(self.ring, self.credential).profile(self.profile);
        let client = reqwest_middleware::ClientBuilder::new(http).with(fallback).build();
        move || {
            let request = client
                .post(&self.endpoint)
                .header(CONTENT_TYPE, FORM)
                .body(self.parameters.clone().into_owned());
            Box::pin(async move {
                let answer = request.send().await.map_err(|error| error.to_string())?;
                judge(Response::from(answer)).await.map(|(sign_in, _)| sign_in)
            })
        }
    }
}

/// A sign-in is what the program can use: a token.
async fn judge<B>(answer: Response<B>) -> Result<(SignIn, Value), String>
where
    B: Body<Error: std::fmt::Display>,
{
    let status = answer.status();
    let with = answer.extensions().get::<Authenticated>().cloned();
    let body = answer.into_body().collect().await.map_err(|error| format!("{status}: {error}"))?;
    let body: Value = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| format!("{status} without JSON: {error}"))?;
    match with {
        Some(with) if body["access_token"].is_string() => {
            Ok((SignIn { secret: with.id, attempts: with.attempts }, body))
        }
        _ => Err(format!("{status}: {} {}", body["error"], body["error_description"])),
    }
}
