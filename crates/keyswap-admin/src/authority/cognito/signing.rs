//! Signature Version 4 of the requests, by the signer of the AWS SDK, with credentials from where AWS's own tools have them.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyswap_store::aws_settings;
use tokio::sync::Mutex;

use super::super::http::cause;

const SERVICE: &str = "cognito-idp";
/// Credentials that end sooner are asked for anew: a request may be on its way for a while.
const SPARE: Duration = Duration::from_secs(60);

/// Where credentials come from, shared by all app clients of a user pool.
pub(super) struct Signer {
    region: String,
    /// In place of those of AWS's own tools.
    given: Option<Credentials>,
    /// Held while credentials are asked for, so that one asks for all.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    provider: Option<SharedCredentialsProvider>,
    credentials: Option<Credentials>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(region: String, given: Option<Credentials>) -> Self {
        Self { region, given, kept: Mutex::default() }
    }

    /// Has those that the next request is signed with. Without them nothing is sent, and the request says why.
    pub(super) async fn ready(&self) {
        let _ = self.credentials().await;
    }

    /// Whether AWS's own tools have others than those that were used last. A file of theirs is read again for that.
    pub(super) async fn has_others(&self) -> bool {
        if self.given.is_some() {
            return false;
        }
        let refused = std::mem::take(&mut *self.kept.lock().await).credentials;
        let now = self.credentials().await.ok();
        let name = |credentials: &Credentials| {
            let session = credentials.session_token().map(str::to_owned);
            (credentials.access_key_id().to_owned(), session)
        };
        now.is_some() && now.as_ref().map(name) != refused.as_ref().map(name)
    }

    async fn credentials(&self) -> Result<Credentials, String> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let mut kept = self.kept.lock().await;
        let lasts = |credentials: &&Credentials| {
            credentials.expiry().is_none_or(|end| end > SystemTime::now() + SPARE)
        };
        if let Some(credentials) = kept.credentials.as_ref().filter(lasts) {
            return Ok(credentials.clone());
        }
        if kept.provider.is_none() {
            // The SDK's futures are of some ten kilobytes, and would be part of each future around them.
            let settings = Box::pin(aws_settings(Some(&self.region))).await;
            kept.provider = settings.credentials_provider();
        }
        let provider = kept.provider.clone().ok_or("there are none")?;
        let credentials = Box::pin(provider.provide_credentials()).await;
        let credentials = credentials.map_err(|error| cause(&error as &dyn Error))?;
        kept.credentials = Some(credentials.clone());
        Ok(credentials)
    }

    /// The headers that a `POST` of this body to this address needs besides these.
    ///
    /// # Errors
    ///
    /// Why there are no credentials, or none that could sign.
    pub(super) async fn sign(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<HeaderMap, String> {
        let identity = self.credentials().await?.into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?;
        let headers = headers.iter().copied();
        let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))
            .map_err(|error| error.to_string())?;
        let signed = sign(signable, &params.into()).map_err(|error| error.to_string())?;
        let (instructions, _) = signed.into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            // One of them may be a session token.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}
