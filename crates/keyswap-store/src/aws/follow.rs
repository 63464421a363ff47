//! For programs that read Secrets Manager alone: the list as the labels have it, by polling.

use std::collections::BTreeMap;
use std::time::Duration;

use keyswap_core::{Revision, Secret, SecretDocument, SecretId, SecretList};
use tokio::time::sleep;

use super::AwsSecret;
use crate::follow::ListSource;
use crate::{StoreError, StoreErrorKind};

const DOING: &str = "read the list";
/// Under load a list that is out of date makes every request ask for a newer one, and AWS counts each look.
const BETWEEN_READS: Duration = Duration::from_secs(1);

pub(crate) struct AwsSource {
    secret: AwsSecret,
    /// A version never changes, so each is read once.
    known: BTreeMap<String, Secret>,
}

impl AwsSource {
    pub(crate) fn new(secret: AwsSecret) -> Self {
        Self { secret, known: BTreeMap::new() }
    }

    fn invalid(&self, version: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, DOING)
            .at(format!("version {version} of {}", self.secret.describe()))
    }

    async fn version(&self, version: &str) -> Result<Secret, StoreError> {
        let value = self.secret.value(version, DOING).await?;
        let value =
            value.ok_or_else(|| self.invalid(version).because("it was taken away meanwhile"))?;
        let id: SecretId =
            version.parse().map_err(|error| self.invalid(version).with_source(error))?;
        Secret::new(id, value.as_str()).map_err(|error| {
            self.invalid(version)
                .with_source(error)
                .way_out("a version holds the plain client secret and nothing else")
        })
    }
}

impl ListSource for AwsSource {
    fn describe(&self) -> String {
        self.secret.describe()
    }

    fn between_reads(&self) -> Duration {
        BETWEEN_READS
    }

    /// All labels come in one answer, so that no list is ever put together of two.
    async fn read(&mut self, _: Option<&SecretList>) -> Result<SecretDocument, StoreError> {
        let found = self.secret.look(DOING).await?;
        let stages = found.filter(|found| !found.deleted).map(|found| found.stages);
        let stages = stages.filter(|stages| stages.current().is_some()).ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, DOING)
                .at(self.secret.describe())
                .because("there is no such secret, or it has no version with AWSCURRENT")
                .way_out("look at its name and its region")
        })?;
        let mut known = BTreeMap::new();
        let mut list = Vec::new();
        for version in stages.list() {
            let secret = match self.known.get(version) {
                Some(secret) => secret.clone(),
                None => self.version(version).await?,
            };
            known.insert(version.to_owned(), secret.clone());
            list.push(secret);
        }
        self.known = known;
        let list = SecretList::new(list).map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, DOING)
                .at(self.secret.describe())
                .with_source(error)
        })?;
        Ok(SecretDocument { revision: Revision::INITIAL, attest_every: None, list })
    }

    async fn changed(&mut self) {
        sleep(self.secret.poll_every()).await;
    }

    async fn prepare(&mut self) {}
}
