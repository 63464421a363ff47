//! TLS for programs that are not on this machine.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::exit::Failure;

/// With this certificate, and where authorities are named for programs that show one of theirs alone.
pub(super) fn acceptor(
    certificate: &Path,
    key: &Path,
    client_authorities: Option<&Path>,
) -> Result<TlsAcceptor, Failure> {
    let unusable = |path: &Path, reason: String| {
        Failure::usage(format!("{} cannot be used for TLS: {reason}", path.display()))
    };
    let chain = certificates(certificate)?;
    // The error of a key names no part of it.
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable(key, format!("it holds no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("no TLS can be set up: {error}")))?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| unusable(path, error.to_string()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| unusable(path, error.to_string()))?,
            )
        }
    };
    let mut configuration = builder.with_single_cert(chain, private).map_err(|error| {
        unusable(
            certificate,
            format!("it and the key {} do not go together: {error}", key.display()),
        )
    })?;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(configuration)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Failure::usage(format!("{} holds no certificate in PEM", path.display()))),
        Err(error) => Err(Failure::usage(format!(
            "the certificates in {} cannot be read: {error}",
            path.display()
        ))),
    }
}
