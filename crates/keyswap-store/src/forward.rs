//! A store that stands on another, and does one thing differently.

// What the macro names of other crates.
#[doc(hidden)]
pub use keyswap_core::{Revision, SecretDocument, SecretList};
#[doc(hidden)]
pub use serde_json::Value;
#[doc(hidden)]
pub use std::time::Duration;
#[doc(hidden)]
pub use zeroize::Zeroizing;

/// Inside an implementation of [`SecretStore`](crate::SecretStore): these of its methods, passed on to another store as they are.
///
/// For a store that stands on another and does one thing differently, so that only that one has to be written. A method that is
/// neither named nor written is an error, so that nothing is passed on that nobody thought of.
///
/// ```
/// use keyswap_core::{Revision, SecretList};
/// use keyswap_store::{FileStore, SecretStore, StoreError, StoreErrorKind, forward};
///
/// /// A store whose first list somebody else imports.
/// #[derive(Clone)]
/// struct NoImport(FileStore);
///
/// impl SecretStore for NoImport {
///     type Watch = <FileStore as SecretStore>::Watch;
///
///     async fn import(&self, _: &SecretList) -> Result<Revision, StoreError> {
///         Err(StoreError::new(StoreErrorKind::Permissions, "import the first list")
///             .because("the platform team does that"))
///     }
///
///     forward!(self => self.0; client, describe, published, publish, watch, journal, save_journal, acquire, renew,
///         release, register, report, unregister, instances, hold, set_hold, append_history, history, verify_history);
/// }
/// ```
#[macro_export]
macro_rules! forward {
    ($self:ident => $inner:expr; $($method:ident),+ $(,)?) => {$(
        $crate::forward!(@$method $self $inner);
    )+};
    (@client $self:ident $inner:expr) => {
        fn client(&$self) -> &str {
            $crate::SecretStore::client(&$inner)
        }
    };
    (@describe $self:ident $inner:expr) => {
        fn describe(&$self) -> ::std::string::String {
            $crate::SecretStore::describe(&$inner)
        }
    };
    (@published $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; published() -> Option<$crate::forward::SecretDocument>);
    };
    (@import $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; import(list: &$crate::forward::SecretList) -> $crate::forward::Revision);
    };
    (@publish $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; publish(lease: &$crate::Lease, expected: $crate::forward::Revision, list: &$crate::forward::SecretList, attest_every: Option<$crate::forward::Duration>) -> $crate::forward::Revision);
    };
    (@watch $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; watch() -> Self::Watch);
    };
    (@journal $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; journal() -> Option<$crate::forward::Zeroizing<Vec<u8>>>);
    };
    (@save_journal $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; save_journal(lease: &$crate::Lease, document: &[u8]) -> ());
    };
    (@acquire $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; acquire(holder: &str) -> $crate::Lease);
    };
    (@renew $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; renew(lease: &$crate::Lease) -> $crate::forward::Duration);
    };
    (@release $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; release(lease: $crate::Lease) -> ());
    };
    (@register $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; register(report: &$crate::InstanceReport) -> $crate::Registration);
    };
    (@report $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; report(registration: &$crate::Registration, report: &$crate::InstanceReport) -> ());
    };
    (@unregister $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; unregister(registration: $crate::Registration) -> ());
    };
    (@instances $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; instances() -> Vec<$crate::Instance>);
    };
    (@hold $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; hold() -> Option<$crate::Hold>);
    };
    (@set_hold $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; set_hold(hold: Option<&$crate::Hold>) -> ());
    };
    (@append_history $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; append_history(lease: &$crate::Lease, record: &$crate::forward::Value) -> $crate::HistoryHead);
    };
    (@history $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; history() -> Vec<$crate::HistoryEntry>);
    };
    (@verify_history $self:ident $inner:expr) => {
        $crate::forward!(@@ $self $inner; verify_history() -> Vec<$crate::HistoryEntry>);
    };
    (@@ $self:ident $inner:expr; $name:ident($($argument:ident: $type:ty),*) -> $value:ty) => {
        async fn $name(&$self $(, $argument: $type)*) -> Result<$value, $crate::StoreError> {
            $crate::SecretStore::$name(&$inner $(, $argument)*).await
        }
    };
}
