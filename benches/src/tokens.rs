//! Getting an access token, when there is one already.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Extensions;
use keyswap_oauth::TokenSource;
use oauth2::basic::BasicClient;
use oauth2::{ClientId, ClientSecret, TokenUrl};
use reqwest_middleware::{ClientBuilder, Middleware, Next};

use crate::Variant;
use crate::layers::{CLIENT_ID, FIRST};
use crate::request::at_once;

const ENDPOINT: &str = "https://auth.example/token";
const ANSWER: &str = r#"{"access_token":"t","token_type":"Bearer","expires_in":86400}"#;

pub(crate) fn variants() -> Vec<Variant> {
    vec![load(), load_full(), token_source(), oauth2_request()]
}

fn kept() -> Arc<ArcSwap<String>> {
    Arc::new(ArcSwap::from_pointee("t".to_owned()))
}

fn load() -> Variant {
    let kept = kept();
    Variant::new("arc_swap_load", "`ArcSwap::load`: a look at a token that is kept", move || {
        black_box(kept.load().as_str());
    })
}

fn load_full() -> Variant {
    let kept = kept();
    let what = "`ArcSwap::load_full`: the same, as a handle of one's own";
    Variant::new("arc_swap_load_full", what, move || {
        black_box(kept.load_full());
    })
}

fn token_source() -> Variant {
    let client = ClientBuilder::new(reqwest::Client::new()).with(Granting).build();
    let source = TokenSource::new(client, ENDPOINT.parse().expect("a URL"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs nothing that could be missing");
    // With the runtime, in case that the first token, which is fetched, needs a timer.
    runtime.block_on(source.token()).expect("it is granted");
    let what = "`TokenSource::token` of keyswap, with a token that is good for hours";
    Variant::new("token_source", what, move || {
        black_box(at_once(source.token()).expect("there is one"));
    })
}

/// In place of the network.
struct Granting;

#[async_trait::async_trait]
impl Middleware for Granting {
    async fn handle(
        &self,
        _request: reqwest::Request,
        _extensions: &mut Extensions,
        _next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        Ok(http::Response::new(ANSWER).into())
    }
}

fn oauth2_request() -> Variant {
    let client = BasicClient::new(ClientId::new(CLIENT_ID.to_owned()))
        .set_client_secret(ClientSecret::new(FIRST.to_owned()))
        .set_token_uri(TokenUrl::new(ENDPOINT.to_owned()).expect("a URL"));
    let what = "the `oauth2` crate, which keeps no token: a whole request, answered at once";
    Variant::new("oauth2_request", what, move || {
        let answer = at_once(client.exchange_client_credentials().request_async(&granted));
        black_box(answer.expect("it is granted"));
    })
}

fn granted(request: oauth2::HttpRequest) -> Ready<Result<oauth2::HttpResponse, Infallible>> {
    black_box(&request);
    let mut answer = oauth2::HttpResponse::new(ANSWER.as_bytes().to_vec());
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    ready(Ok(answer))
}
