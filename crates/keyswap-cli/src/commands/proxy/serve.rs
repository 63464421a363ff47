//! Connections: who is let in, how long they may take, and their end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Body;

/// Connections at once; further ones wait until one ends.
const MOST_CONNECTIONS: usize = 1024;
/// How long the head of a request may take, and a connection wait for the next one: longer than programs keep theirs.
const HEAD_WITHIN: Duration = Duration::from_secs(120);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long answers that are on their way may take once the proxy was told to end: longer than any takes.
const GRACE: Duration = Duration::from_secs(75);

/// For whom a listener is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    /// Programs, which get tokens.
    Programs,
    /// Whoever looks whether all is well.
    Monitoring,
}

/// Serves until `stop` turns true, and then until each request that is there has its answer.
pub(in crate::commands) async fn serve<F, A>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    answer: F,
    mut stop: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = next => match accepted {
                Ok((stream, _)) => {
                    let (tls, answer, stop) = (tls.clone(), answer.clone(), stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => connection(stream, answer, stop).await,
                            Some(tls) => {
                                let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream));
                                match handshake.await {
                                    Ok(Ok(stream)) => connection(stream, answer, stop).await,
                                    Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
                                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                                }
                            }
                        }
                    });
                }
                // Out of file descriptors, mostly: wait for some to be given back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    // A new connection must be refused from here on, not queued.
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finished).await;
}

async fn connection<A: Future<Output = Response<Body>>>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Request<Incoming>) -> A,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
            return;
        }
        () = told_to_stop(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What `wait_for` returns holds the channel's lock, so it must not outlive this.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
