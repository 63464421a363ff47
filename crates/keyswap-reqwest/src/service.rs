//! A plain `reqwest::Client` as a tower service.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use keyswap_tower::RequestBody;
use reqwest::{Body, Client};
use tower_service::Service;

use crate::convert;
use crate::origin::{OriginError, check_answer, check_origin};

/// A [`reqwest::Client`] that [`FallbackLayer`](keyswap_tower::FallbackLayer) can wrap.
///
/// A body that is complete goes to reqwest as bytes, so that reqwest can send it again over a new
/// connection; others stream.
///
/// No redirects, and TLS except on loopback: these [rules](crate#three-rules-for-the-client) hold for each
/// request that comes here, also for those that a layer with an
/// [origin](keyswap_tower::FallbackLayer::origin) put no secret on.
///
/// ```no_run
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_reqwest::{ReqwestService, client_builder};
/// use keyswap_tower::{ClientSecretPost, FallbackLayer, Profile};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let client = ServiceBuilder::new()
///     .layer(FallbackLayer::new(ring, ClientSecretPost::new("billing")).profile(Profile::Auth0))
///     .service(ReqwestService::new(client_builder().build()?));
///
/// let request = http::Request::post("https://billing.eu.auth0.com/oauth/token")
///     .header("content-type", "application/json")
///     .body(reqwest::Body::from(r#"{"grant_type":"client_credentials"}"#))?;
/// let answer = client.oneshot(request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ReqwestService {
    client: Client,
}

impl ReqwestService {
    /// Around this client, which should follow no redirects: see [`client_builder`](crate::client_builder).
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl From<Client> for ReqwestService {
    fn from(client: Client) -> Self {
        Self::new(client)
    }
}

impl<B> Service<Request<RequestBody<B>>> for ReqwestService
where
    B: http_body::Body + Send + Sync + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send + Sync,
{
    type Response = Response<Body>;
    type Error = ServiceError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, ServiceError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ServiceError>> {
        Service::<reqwest::Request>::poll_ready(&mut self.client, cx).map_err(ServiceError::Client)
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let request = convert::request(request).map_err(ServiceError::Client).and_then(|request| {
            check_origin(request.url()).map_err(ServiceError::Origin)?;
            Ok(request)
        });
        let sent = request.map(|request| {
            let url = request.url().clone();
            (self.client.call(request), url)
        });
        Box::pin(async move {
            let (answer, url) = sent?;
            let answer = answer.await.map_err(ServiceError::Client)?;
            check_answer(&url, answer.url()).map_err(ServiceError::Origin)?;
            Ok(convert::answer(answer))
        })
    }
}

impl fmt::Debug for ReqwestService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own Debug prints its default headers.
        f.debug_struct("ReqwestService").finish_non_exhaustive()
    }
}

/// Why [`ReqwestService`] has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceError {
    /// The error of reqwest, unchanged.
    Client(reqwest::Error),
    /// The secret must not go there.
    Origin(OriginError),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Origin(error) => error.fmt(f),
        }
    }
}

impl Error for ServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Origin(error) => error.source(),
        }
    }
}
