//! For users of the [oauth2](::oauth2) crate: the HTTP client that its requests go through.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;

use ::oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest_middleware::reqwest::{Client, Request};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware};

/// Makes the requests of the [oauth2](::oauth2) crate through a middleware that signs them, and falls back
/// when a secret is refused.
///
/// It takes the place of the `reqwest::Client` that the crate's `request_async` is given; nothing else
/// changes in a program. The requests are those of all its flows: client credentials, authorization code,
/// refresh, device code, introspection, revocation.
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_oauth::OAuth2Client;
/// use keyswap_reqwest::{FallbackMiddleware, client_builder};
/// use keyswap_tower::{ClientSecretBasic, Profile};
/// use oauth2::basic::BasicClient;
/// use oauth2::{ClientId, TokenResponse, TokenUrl};
/// # use keyswap_testkit::{AuthorizationServer, Client};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = AuthorizationServer::builder()
/// #     .client(Client::new("billing", "yT7mXo2LrWq8").grant("https://api.example/"))
/// #     .start()
/// #     .await?;
/// # let endpoint = server.token_endpoint();
/// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
/// let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
/// let ring = SecretRing::new(SecretList::new([old, new])?);
///
/// // With the id that the middleware has, and without a secret.
/// let client = BasicClient::new(ClientId::new("billing".into()))
///     .set_token_uri(TokenUrl::new(endpoint)?);
///
/// // In place of a `reqwest::Client`:
/// let fallback = FallbackMiddleware::new(ring, ClientSecretBasic::new("billing"))
///     .profile(Profile::Auth0);
/// let http = OAuth2Client::new(client_builder().build()?, fallback);
///
/// let token = client
///     .exchange_client_credentials()
///     .add_extra_param("audience", "https://api.example/")
///     .request_async(&http)
///     .await?;
/// assert!(!token.access_token().secret().is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # The secret belongs to the ring alone
///
/// Do not call `set_client_secret`. Without a secret the crate writes `client_id` into the body, which every
/// credential for token endpoints takes: beside a Basic header it stays, and the others replace it. With
/// one it signs the requests itself. What happens then depends on where it puts the secret, which is its
/// `AuthType`, and on the middleware's credential:
///
/// | the crate's secret is | `ClientSecretBasic` | `ClientSecretPost` | `ClientSecretJwt` |
/// | --- | --- | --- | --- |
/// | not set | **signed by the ring** | **signed by the ring** | **signed by the ring** |
/// | in the header (`BasicAuth`, the default) | replaced by the ring's | goes out as it is | goes out as it is |
/// | in the body (`RequestBody`) | goes out as it is | replaced by the ring's | goes out as it is |
///
/// What goes out as it is has no fallback, and there is a warning in the log for each such request.
///
/// Pin the middleware to the origin of the token endpoint, and let the client follow no redirects, as the
/// oauth2 crate itself asks: `keyswap_reqwest::client_builder` starts from such settings.
///
/// # Over another HTTP client
///
/// The crate takes a closure too. One around any HTTP client that is a tower service, with
/// `keyswap_tower::FallbackLayer` around it:
///
/// ```
/// use std::error::Error;
/// use std::io;
///
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use oauth2::{HttpRequest, HttpResponse};
/// use tower::{Service, ServiceExt};
///
/// type BoxError = Box<dyn Error + Send + Sync>;
///
/// async fn call<S, A>(service: S, request: HttpRequest) -> io::Result<HttpResponse>
/// where
///     S: Service<http::Request<Full<Bytes>>, Response = http::Response<A>, Error: Into<BoxError>>,
///     A: http_body::Body<Error: Into<BoxError>>,
/// {
///     let answer = service.oneshot(request.map(Full::from)).await.map_err(io::Error::other)?;
///     let (head, body) = answer.into_parts();
///     let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
///     Ok(HttpResponse::from_parts(head, body.into()))
/// }
///
/// # let service = tower::service_fn(async |request: http::Request<Full<Bytes>>| {
/// #     Ok::<_, io::Error>(http::Response::new(request.into_body()))
/// # });
/// let http = |request| call(service.clone(), request);
/// # fn takes<'c>(_: &'c impl oauth2::AsyncHttpClient<'c>) {}
/// # takes(&http);
/// ```
#[derive(Clone)]
pub struct OAuth2Client {
    client: ClientWithMiddleware,
}

impl OAuth2Client {
    /// Over this client, with this middleware around it: a `FallbackMiddleware`.
    ///
    /// With more than one middleware, build the chain yourself and use `OAuth2Client::from`.
    #[must_use]
    pub fn new(client: Client, fallback: impl Middleware) -> Self {
        Self { client: ClientBuilder::new(client).with(fallback).build() }
    }
}

/// Over a chain of middlewares of which one is a `FallbackMiddleware`.
impl From<ClientWithMiddleware> for OAuth2Client {
    fn from(client: ClientWithMiddleware) -> Self {
        Self { client }
    }
}

impl<'c> AsyncHttpClient<'c> for OAuth2Client {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut answer = self.client.execute(Request::try_from(request)?).await?;
            let mut whole = HttpResponse::new(Vec::new());
            *whole.status_mut() = answer.status();
            *whole.version_mut() = answer.version();
            *whole.headers_mut() = mem::take(answer.headers_mut());
            *whole.extensions_mut() = mem::take(answer.extensions_mut());
            *whole.body_mut() = answer.bytes().await?.into();
            Ok(whole)
        })
    }
}

impl fmt::Debug for OAuth2Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own Debug prints its default headers.
        f.debug_struct("OAuth2Client").finish_non_exhaustive()
    }
}
