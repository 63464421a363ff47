//! A store whose list is in AWS Secrets Manager as well, and a program that reads it there.

#[cfg(feature = "aws")]
mod fault;
#[cfg(feature = "aws")]
mod follow;
#[cfg(feature = "aws")]
mod in_step;
#[cfg(feature = "aws")]
mod secret;
#[cfg(feature = "aws-settings")]
mod settings;
#[cfg(any(feature = "aws", test))]
mod stages;
#[cfg(feature = "aws")]
mod store;

#[cfg(feature = "aws")]
pub(crate) use self::follow::AwsSource;
#[cfg(feature = "aws")]
pub use self::secret::AwsSecret;
#[cfg(feature = "aws-settings")]
pub use self::settings::aws_settings;
#[cfg(feature = "aws")]
pub use self::store::AwsStore;
