//! What went wrong with a request to etcd, and what that means.

use std::error::Error as _;
use std::io::ErrorKind;

use etcd_client::Error;
use tonic::Code;

use crate::{StoreError, StoreErrorKind};

/// What an error means for the request that it answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Nothing was sent: another node may be there.
    Unreachable,
    /// We do not trust its certificate, it does not trust ours, or one of us speaks no TLS: no request was
    /// looked at.
    Tls,
    /// The node did nothing: another one may, or this one later.
    NotNow,
    /// The token is older than the users and roles: fetch another one.
    Token,
    /// It may have been done or not.
    Unknown,
    /// There is no such lease any more.
    NoLease,
    /// There is a lease of that id.
    LeaseExists,
    /// What was asked for is older than what etcd keeps.
    Compacted,
    /// We may not.
    Denied,
    /// The database of the cluster is as large as it may get.
    Full,
    /// It will not be done.
    Refused,
}

impl Fault {
    /// Whether the same request may be sent again, to this node or another one.
    pub(super) fn again(self) -> bool {
        matches!(self, Self::Unreachable | Self::Tls | Self::NotNow | Self::Token | Self::Unknown)
    }
}

/// A request that was not answered as wanted.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// In etcd's words, which hold no value of a key; or whom we could not reach.
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(fault: Fault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into() }
    }

    /// The failure of a node that has never answered anything: one that only closes connections may want
    /// something else of us, and does not say what.
    pub(super) fn of_a_stranger(mut self, encrypted: bool) -> Self {
        if CLOSED.iter().any(|words| self.text.contains(words)) {
            let may = match encrypted {
                true => "it may speak no TLS, or want a client certificate that it trusts",
                false => "it may want TLS: https://",
            };
            self.text = format!(
                "it closed the connection before it answered anything, and {may} ({})",
                self.text
            );
        }
        self
    }

    /// For what was only read: nothing can be half done.
    pub(super) fn of_read(self, doing: &str, place: &str) -> StoreError {
        let kind = self.kind(StoreErrorKind::Io);
        self.into_error(kind, doing, place)
    }

    /// For what was to be written.
    pub(super) fn of_write(self, doing: &str, place: &str) -> StoreError {
        let kind = self.kind(StoreErrorKind::OutcomeUnknown);
        self.into_error(kind, doing, place)
    }

    fn kind(&self, unknown: StoreErrorKind) -> StoreErrorKind {
        match self.fault {
            Fault::Unknown => unknown,
            Fault::Denied => StoreErrorKind::Permissions,
            _ => StoreErrorKind::Io,
        }
    }

    fn into_error(self, kind: StoreErrorKind, doing: &str, place: &str) -> StoreError {
        let way_out = match self.fault {
            Fault::Denied => {
                "give the right user and password, and that user a role that may read and write below \
                 the prefix"
            }
            Fault::Tls => {
                "compare the scheme of the endpoints with what the nodes speak, `certificate_authority` with \
                 who signed their certificates, and `certificate` and `key` with what they trust"
            }
            Fault::Full => {
                "let etcd compact its history and defragment, then take the alarm away: etcdctl alarm \
                 disarm"
            }
            Fault::Refused | Fault::LeaseExists | Fault::NoLease | Fault::Compacted => {
                "see the log of that etcd"
            }
            _ if kind == StoreErrorKind::OutcomeUnknown => {
                "look at the cluster: etcdctl endpoint health; then run `keyswap resume`"
            }
            _ => {
                "see that etcd runs, that more than half of its nodes are up, and that they can be \
                 reached from here; until then programs keep the list that they have"
            }
        };
        StoreError::new(kind, doing).at(place).because(self.text).way_out(way_out)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => {
                if let Some(reason) = handshake(&status) {
                    return Self { fault: Fault::Tls, text: reason };
                }
                let fault = read(status.code(), status.message(), refused_connection(&status));
                let text = match (status.message(), fault) {
                    (_, Fault::Unreachable) => "the connection was refused".to_owned(),
                    ("", _) => format!("it answered {:?}", status.code()),
                    // It says nothing by itself.
                    ("transport error", _) => deepest(&status),
                    (message, _) => message.to_owned(),
                };
                Self { fault, text }
            }
            // The first answer of a keep-alive, when the lease is gone.
            Error::LeaseKeepAliveError(text) if text.contains("not found") => {
                Self { fault: Fault::NoLease, text }
            }
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Self { fault: Fault::Refused, text: error.to_string() }
            }
            Error::TransportError(error) => {
                // Only made while a connection is set up: a certificate that is none, a name.
                Self { fault: Fault::Tls, text: deepest(&error) }
            }
            error => Self { fault: Fault::Unknown, text: error.to_string() },
        }
    }
}

/// What etcd means by a code and a message. `refused`: the connection was, so that nothing was sent.
fn read(code: Code, message: &str, refused: bool) -> Fault {
    let says = |text| message.contains(text);
    match code {
        _ if refused => Fault::Unreachable,
        Code::Unavailable if says("no leader") => Fault::NotNow,
        Code::ResourceExhausted if says("too many requests") => Fault::NotNow,
        Code::ResourceExhausted if says("space exceeded") => Fault::Full,
        Code::NotFound if says("lease not found") => Fault::NoLease,
        Code::FailedPrecondition if says("lease already exists") => Fault::LeaseExists,
        Code::OutOfRange if says("compacted") => Fault::Compacted,
        Code::Unauthenticated => Fault::Token,
        Code::InvalidArgument if says("revision of auth store is old") => Fault::Token,
        Code::InvalidArgument if says("authentication failed") || says("user name is empty") => {
            Fault::Denied
        }
        Code::PermissionDenied => Fault::Denied,
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::Unimplemented => Fault::Refused,
        // A timeout, a leader that changed, a connection that broke, and whatever else there may be.
        _ => Fault::Unknown,
    }
}

/// What lies under an error, in its own words.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Why a node that is there is not trusted, if that is so. etcd-client does not show the types of rustls.
fn handshake(status: &tonic::Status) -> Option<String> {
    let reason = deepest(status);
    // rustls says so when it looks at the certificate, before anything is sent over that connection.
    reason.contains("invalid peer certificate").then_some(reason)
}

/// What a connection is said to have come to that the other side closed. Its alert is heard at times, and at
/// times a write fails before that.
const CLOSED: [&str; 7] = [
    "received fatal alert",
    "connection closed",
    "operation was canceled",
    "stream closed because of a broken pipe",
    "tls handshake eof",
    "Broken pipe",
    "Connection reset",
];

/// Whether nobody listens there, or no way leads there: then nothing was sent.
fn refused_connection(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::AddrNotAvailable
            );
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_never_taken_for_not_done() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "transport is closing"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Unknown, "h2 protocol error"),
            (Code::Cancelled, ""),
            (Code::Internal, ""),
            (Code::DataLoss, ""),
        ] {
            let fault = read(code, message, false);
            assert_eq!(fault, Fault::Unknown, "{code:?} {message}");
            let error = Failure::new(fault, message).of_write("publish the list", "etcd");
            assert!(error.is_outcome_unknown(), "{error}");
        }
    }

    #[test]
    fn what_etcd_says_is_told_apart() {
        for (code, message, wanted) in [
            (Code::Unavailable, "etcdserver: no leader", Fault::NotNow),
            (Code::ResourceExhausted, "etcdserver: too many requests", Fault::NotNow),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Fault::Full),
            (Code::NotFound, "etcdserver: requested lease not found", Fault::NoLease),
            (Code::FailedPrecondition, "etcdserver: lease already exists", Fault::LeaseExists),
            (Code::OutOfRange, "required revision has been compacted", Fault::Compacted),
            (Code::PermissionDenied, "etcdserver: permission denied", Fault::Denied),
            (Code::InvalidArgument, "etcdserver: user name is empty", Fault::Denied),
            (Code::InvalidArgument, "etcdserver: request is too large", Fault::Refused),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Fault::Token),
        ] {
            assert_eq!(read(code, message, false), wanted, "{message}");
        }
        assert_eq!(read(Code::Unavailable, "tcp connect error", true), Fault::Unreachable);
    }

    #[test]
    fn a_wrong_password_is_a_matter_of_permissions_and_has_a_way_out() {
        let failure = Failure::new(Fault::Denied, "etcdserver: authentication failed");
        let error = failure.of_read("read the list", "the etcd store at http://a:2379");
        assert!(error.is_permissions());
        assert!(error.to_string().contains("user and password"), "{error}");
    }
}
