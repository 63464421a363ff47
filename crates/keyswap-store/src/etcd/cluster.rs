//! The nodes of a cluster: asked one after the other until one answers.
//!
//! Each node has a connection of its own. A balancer over all of them would go on choosing the one that
//! fails fastest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep, timeout};

use super::backoff;
use super::fault::{Failure, Fault};

/// The longest wait after all nodes failed in turn.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(500);

pub(super) struct Cluster {
    nodes: Vec<Node>,
    /// The node that is asked first: the last one that answered.
    preferred: AtomicUsize,
    /// How long a request may take, over all nodes.
    timeout: Duration,
    thread: Handle,
}

pub(super) struct Node {
    endpoint: String,
    options: ConnectOptions,
    client: OnceCell<Client>,
    /// Whether it ever answered.
    answered: AtomicBool,
    /// Counts the requests that it left without an answer: whoever waits for it to speak looks elsewhere.
    silent: watch::Sender<u64>,
}

/// What a request was answered, and whether one before it may have been carried out as well.
pub(super) struct Answered<T> {
    pub(super) answer: T,
    pub(super) after_unknown: bool,
}

impl Cluster {
    pub(super) fn new(
        endpoints: &[String],
        options: &ConnectOptions,
        timeout: Duration,
        thread: Handle,
    ) -> Arc<Self> {
        let node = |endpoint: &String| Node {
            endpoint: endpoint.clone(),
            options: options.clone(),
            client: OnceCell::new(),
            answered: AtomicBool::new(false),
            silent: watch::Sender::new(0),
        };
        // Programs that start at once should not all ask the same one.
        let first = (backoff::chance() * endpoints.len() as f64) as usize % endpoints.len().max(1);
        Arc::new(Self {
            nodes: endpoints.iter().map(node).collect(),
            preferred: AtomicUsize::new(first),
            timeout,
            thread,
        })
    }

    /// The runtime of the thread that talks to etcd.
    pub(super) fn thread(&self) -> &Handle {
        &self.thread
    }

    /// How long one node may take.
    pub(super) fn patience(&self) -> Duration {
        self.timeout / 4
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.endpoint.as_str())
    }

    /// Whether both are the same nodes.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.endpoints().eq(other.endpoints())
    }

    /// The node to ask first, and its place among the others.
    pub(super) fn preferred(&self) -> (usize, &Node) {
        let at = self.preferred.load(Ordering::Relaxed) % self.nodes.len();
        (at, &self.nodes[at])
    }

    /// Asks the next node first from now on, unless somebody else saw to that.
    pub(super) fn leave(&self, at: usize) {
        let next = (at + 1) % self.nodes.len();
        let _ = self.preferred.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sends a request to one node after the other until one answers it, or the time is over.
    ///
    /// It may be carried out more than once, so a write must compare what it found before.
    pub(super) async fn call<T, F, A>(&self, request: F) -> Result<Answered<T>, Failure>
    where
        F: Fn(Client) -> A + Send + Sync,
        A: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let end = Instant::now() + self.timeout;
        let mut after_unknown = false;
        let mut failures: Vec<Option<(Fault, String)>> = vec![None; self.nodes.len()];
        for attempt in 0_u32.. {
            let (at, node) = self.preferred();
            let left = end.saturating_duration_since(Instant::now());
            // An attempt that is cut off by the end may have been carried out: it would be told as unknown what is not.
            if attempt > 0 && left < self.patience() / 10 {
                break;
            }
            let Failure { fault, text } =
                match node.ask(self, left.min(self.patience()), &request).await {
                    Ok(answer) => return Ok(Answered { answer, after_unknown }),
                    Err(failure) => failure,
                };
            after_unknown |= fault == Fault::Unknown;
            if !fault.again() {
                return Err(Failure { fault, text });
            }
            // What a node said in the time that is due to it tells more than that the end cut it off.
            if left >= self.patience() || failures[at].is_none() {
                failures[at] = Some((fault, text));
            }
            self.leave(at);
            // Each node gets its turn before anybody waits.
            let nodes = self.nodes.len() as u32;
            if (attempt + 1) % nodes == 0 {
                // A certificate is not another one for waiting.
                if is_tls(&failures) {
                    break;
                }
                let wait = backoff::wait(attempt / nodes, BETWEEN_ROUNDS, backoff::chance());
                if Instant::now() + wait >= end {
                    break;
                }
                sleep(wait).await;
            }
        }
        let fault = match after_unknown {
            true => Fault::Unknown,
            false if is_tls(&failures) => Fault::Tls,
            false => Fault::Unreachable,
        };
        Err(Failure::new(fault, self.no_answer(fault, &failures)))
    }

    fn no_answer(&self, fault: Fault, failures: &[Option<(Fault, String)>]) -> String {
        let told = self.endpoints().zip(failures).filter_map(|(endpoint, failure)| {
            failure.as_ref().map(|(_, text)| format!("{endpoint}: {text}"))
        });
        let told = told.collect::<Vec<_>>().join("; ");
        match fault {
            Fault::Tls => format!("no node can be spoken to ({told})"),
            _ => format!("no node did it within {:?} ({told})", self.timeout),
        }
    }
}

impl Node {
    async fn ask<T, F, A>(
        &self,
        cluster: &Cluster,
        patience: Duration,
        request: &F,
    ) -> Result<T, Failure>
    where
        F: Fn(Client) -> A + Send + Sync,
        A: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let end = Instant::now() + patience;
        let client = self.client(cluster, patience).await?;
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, request(client.clone())).await {
            Ok(Ok(answer)) => {
                self.answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let failure = self.failed(error);
                if failure.fault == Fault::Token {
                    let renewed = timeout(patience, client.refresh_token()).await;
                    if let Ok(Err(error)) = renewed {
                        return Err(error.into());
                    }
                }
                Err(failure)
            }
            Err(_) => Err(self.is_silent(patience)),
        }
    }

    /// The connection to this node, which is made when it is needed first.
    pub(super) async fn client(
        &self,
        cluster: &Cluster,
        patience: Duration,
    ) -> Result<Client, Failure> {
        let connect = || async {
            let (endpoint, options) = (self.endpoint.clone(), self.options.clone());
            // It belongs to the runtime that it is made on. With a user, this asks for a token.
            let connecting = cluster
                .thread
                .spawn(async move { Client::connect([endpoint.as_str()], Some(options)).await });
            match timeout(patience, connecting).await {
                Ok(Ok(Ok(client))) => Ok(client),
                Ok(Ok(Err(error))) => Err(not_sent(self.failed(error))),
                Ok(Err(_)) => Err(Failure::new(Fault::Unreachable, "its thread has ended")),
                Err(_) => Err(not_sent(self.is_silent(patience))),
            }
        };
        self.client.get_or_try_init(connect).await.cloned()
    }

    fn failed(&self, error: Error) -> Failure {
        let failure = Failure::from(error);
        match self.answered.load(Ordering::Relaxed) {
            true => failure,
            false => failure.of_a_stranger(self.endpoint.starts_with("https://")),
        }
    }

    /// Tells when it leaves a request without an answer.
    pub(super) fn silences(&self) -> watch::Receiver<u64> {
        self.silent.subscribe()
    }

    fn is_silent(&self, patience: Duration) -> Failure {
        self.silent.send_modify(|count| *count += 1);
        Failure::new(Fault::Unknown, format!("no answer within {patience:?}"))
    }
}

/// Whether no node is spoken to for want of a certificate.
fn is_tls(failures: &[Option<(Fault, String)>]) -> bool {
    failures.iter().all(|failure| matches!(failure, Some((Fault::Tls, _))))
}

/// What failed was asking for a token, so that the request itself was not sent.
fn not_sent(failure: Failure) -> Failure {
    match failure.fault {
        Fault::Unknown => Failure { fault: Fault::Unreachable, ..failure },
        _ => failure,
    }
}
