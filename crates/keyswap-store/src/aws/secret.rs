//! One secret of Secrets Manager: where it is, and the few calls that are made of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use keyswap_core::Secret;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::fault::{Failure, FailureKind};
use super::settings::{CALL, aws_settings};
use super::stages::{Act, Stages};
use crate::{StoreError, StoreErrorKind, name};

const POLL: Duration = Duration::from_secs(30);

/// One secret in AWS Secrets Manager. With the feature `aws`.
///
/// Credentials, and the region where none is named, come from where AWS's own tools have them: environment, profile,
/// role of the container or machine, web identity. Nothing is asked of AWS before the first use.
///
/// A program that reads Secrets Manager alone follows it with [`Follow::start_aws`](crate::Follow::start_aws); for the
/// rotator there is [`AwsStore`](crate::AwsStore).
///
/// ```no_run
/// use keyswap_core::FallbackPolicy;
/// use keyswap_store::{AwsSecret, Follow};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = AwsSecret::named("keyswap/billing").region("eu-west-1");
/// let (ring, follow) = Follow::start_aws(secret, FallbackPolicy::default()).await?;
/// tokio::spawn(follow.run());
/// # drop(ring);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct AwsSecret {
    name: String,
    region: Option<String>,
    endpoint: Option<String>,
    poll: Duration,
    client: Arc<OnceCell<Client>>,
}

/// What there is of a secret, without its values.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stages: Stages,
    /// When it is to be deleted.
    pub(super) deleted: bool,
    /// By a function of AWS's.
    pub(super) rotated: bool,
}

impl AwsSecret {
    /// The secret of this name or ARN.
    pub fn named(name: impl Into<String>) -> Self {
        let client = Arc::new(OnceCell::new());
        Self { name: name.into(), region: None, endpoint: None, poll: POLL, client }
    }

    /// The same, of another name: over the same connections, in the same region.
    pub fn another(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// The secret of a client, where each has one: `{client}` in the name stands for the client id, in which what is not
    /// `[A-Za-z0-9_.-]` is written as `=XX`.
    ///
    /// ```
    /// use keyswap_store::AwsSecret;
    ///
    /// let secret = AwsSecret::named("prod/{client}/client-secret").of_client("https://a.example");
    /// assert_eq!(secret.name(), "prod/https=3A=2F=2Fa.example/client-secret");
    /// ```
    pub fn of_client(&self, client: &str) -> Self {
        // A name takes neither of the two.
        let escaped = name::escape(client).replace('%', "=").replace('~', "+");
        self.another(self.name.replace("{client}", &escaped))
    }

    /// The region, where it is not the one that AWS's own tools would take.
    pub fn region(self, region: impl Into<String>) -> Self {
        let client = Arc::new(OnceCell::new());
        Self { region: Some(region.into()), client, ..self }
    }

    /// Another endpoint of Secrets Manager's: of a VPC, or one for tests. Values are sent there.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        let client = Arc::new(OnceCell::new());
        Self { endpoint: Some(url.into()), client, ..self }
    }

    /// How often a program that [follows](crate::Follow::start_aws) it looks: every 30 s by default, which is one
    /// `DescribeSecret`. It looks as well when all its secrets were refused.
    pub fn poll(self, every: Duration) -> Self {
        Self { poll: every, ..self }
    }

    /// Its name or ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn poll_every(&self) -> Duration {
        self.poll
    }

    pub(super) fn describe(&self) -> String {
        let region = self.region.as_ref().map(|region| format!(" in {region}"));
        format!("the AWS secret {}{}", self.name, region.unwrap_or_default())
    }

    async fn client(&self) -> &Client {
        let make = || async {
            let settings = aws_settings(self.region.as_deref()).await;
            // The endpoint is of this service alone: credentials may come from others of AWS's.
            let mut builder = aws_sdk_secretsmanager::config::Builder::from(&settings);
            if let Some(endpoint) = &self.endpoint {
                builder = builder.endpoint_url(endpoint);
            }
            Client::from_conf(builder.build())
        };
        Box::pin(self.client.get_or_init(make)).await
    }

    /// The labels; `None` when there is no such secret.
    pub(super) async fn look(&self, doing: &str) -> Result<Option<Found>, StoreError> {
        let call = self.client().await.describe_secret().secret_id(&self.name);
        let found = match answer(Box::pin(call.send()), CALL, true).await {
            Ok(found) => found,
            Err(failure) if failure.kind == FailureKind::NotFound => return Ok(None),
            Err(failure) => return Err(failure.into_error(doing, &self.describe())),
        };
        let labels = found.version_ids_to_stages().into_iter().flatten();
        let labels = labels.flat_map(|(version, labels)| {
            labels.iter().map(move |label| (label.as_str(), version.as_str()))
        });
        Ok(Some(Found {
            stages: Stages::new(labels),
            deleted: found.deleted_date().is_some(),
            rotated: found.rotation_enabled().unwrap_or_default(),
        }))
    }

    /// The value of a version; `None` when there is no such version. Always asked for by its id, or by its label, and
    /// never as what AWS takes by default.
    pub(super) async fn value(
        &self,
        version: &str,
        doing: &str,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        let call = self.client().await.get_secret_value().secret_id(&self.name);
        match answer(Box::pin(call.version_id(version).send()), CALL, true).await {
            Ok(found) => {
                let value = found.secret_string.map(Zeroizing::new).ok_or_else(|| {
                    StoreError::new(StoreErrorKind::Invalid, doing).at(self.describe()).because(
                        format!("version {version} is binary, and a client secret is text"),
                    )
                })?;
                Ok(Some(value))
            }
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(failure.into_error(doing, &self.describe())),
        }
    }

    /// Makes the secret, with this as its only version.
    pub(super) async fn create(
        &self,
        version: &str,
        secret: &Secret,
        within: Duration,
    ) -> Result<(), Failure> {
        let call = self
            .client()
            .await
            .create_secret()
            .name(&self.name)
            .description("A client_secret that keyswap rotates. Please leave its versions and labels to keyswap.")
            .client_request_token(version)
            .secret_string(secret.expose());
        answer(Box::pin(call.send()), within, false).await.map(drop)
    }

    /// Does one thing: at once, or not at all, or without an answer. `secret` is what a version that is put holds.
    pub(super) async fn carry_out(
        &self,
        act: &Act,
        secret: Option<&Secret>,
        within: Duration,
    ) -> Result<(), Failure> {
        let client = self.client().await;
        match (act, secret) {
            (Act::Put { version, stage }, Some(secret)) => {
                let call = client.put_secret_value().secret_id(&self.name);
                let call = call.client_request_token(version).secret_string(secret.expose());
                answer(Box::pin(call.version_stages(stage).send()), within, false).await.map(drop)
            }
            (Act::Put { .. }, None) => Ok(()),
            (Act::Move { stage, from, to }, _) => {
                let call = client.update_secret_version_stage().secret_id(&self.name);
                let call = call.version_stage(stage).set_remove_from_version_id(from.clone());
                let call = call.set_move_to_version_id(to.clone());
                answer(Box::pin(call.send()), within, true).await.map(drop)
            }
        }
    }
}

/// Waits for an answer, and no longer than that: what the SDK would send again after it is not sent.
async fn answer<T, E, R>(
    call: Pin<Box<impl Future<Output = Result<T, SdkError<E, R>>>>>,
    within: Duration,
    shown: bool,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    // The SDK's futures are of some ten kilobytes each, and would be part of each future around them.
    match timeout(within.min(CALL), call).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error, shown)),
        Err(_) => Err(Failure::timed_out()),
    }
}

impl fmt::Debug for AwsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecret")
            .field("name", &self.name)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
