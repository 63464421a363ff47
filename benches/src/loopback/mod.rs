//! Whole token requests over loopback: HTTP/1.1, connections that are kept, no TLS.
//!
//! Server and client are a thread each, on one core: otherwise the figures are those of the scheduler,
//! and jump between two regimes.

mod clients;
mod server;

use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::rounds::{Rounds, percentile};
use crate::time::{pin, process_nanoseconds};
use clients::{Clients, SendRequests};
use server::Server;

/// What is sent in one turn on each connection, and how many turns there are.
const SHAPES: [Shape; 2] = [
    Shape { connections: 1, requests: 400, rounds: 61 },
    Shape { connections: 64, requests: 30, rounds: 61 },
];

#[derive(Clone, Copy)]
struct Shape {
    connections: usize,
    requests: usize,
    rounds: usize,
}

/// All clients, with this many connections each.
#[derive(Debug)]
pub struct Loopback {
    /// How many connections.
    pub connections: usize,
    /// In the order of the rounds.
    pub clients: Vec<Latency>,
    /// Requests in a second of processor time, client and server together: as many as by the clock, when
    /// the core has nothing else to do.
    pub throughput: Rounds,
}

/// One client.
#[derive(Debug)]
pub struct Latency {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Median, in microseconds.
    pub p50: f64,
    /// Of a hundred requests, one takes longer.
    pub p99: f64,
}

/// Measures all clients, each in turn, on one core.
///
/// # Panics
///
/// When the machine has no loopback interface, or a request does not end with 200.
#[must_use]
pub fn loopback() -> Vec<Loopback> {
    let pinned = || {
        pin(0);
        let server = Server::start();
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        SHAPES.map(|shape| measure(shape, &server, &runtime)).into()
    };
    thread::spawn(pinned).join().expect("all requests are accepted")
}

fn measure(shape: Shape, server: &Server, runtime: &Runtime) -> Loopback {
    // Anew for each shape, so that no pool holds connections of another one.
    let mut clients = {
        let _entered = runtime.enter();
        Clients::all(server.address())
    };
    let mut latencies = vec![Vec::new(); clients.len()];
    for number in 0..clients.len() {
        turn(shape, runtime, clients.at(number), &mut Vec::new());
    }
    let throughput = Rounds::take(shape.rounds, clients.len(), |number| {
        let start = process_nanoseconds();
        turn(shape, runtime, clients.at(number), &mut latencies[number]);
        let seconds = (process_nanoseconds() - start) as f64 / 1e9;
        (shape.connections * shape.requests) as f64 / seconds
    });
    let clients = clients.names().zip(&mut latencies).map(|((name, what), latencies)| {
        let (p50, p99) = (percentile(latencies, 0.5), percentile(latencies, 0.99));
        Latency { name, what, p50, p99 }
    });
    Loopback { connections: shape.connections, clients: clients.collect(), throughput }
}

/// Microseconds of each request go to `latencies`.
fn turn(shape: Shape, runtime: &Runtime, client: &mut dyn SendRequests, latencies: &mut Vec<f64>) {
    LocalSet::new().block_on(runtime, async {
        let tasks: Vec<_> = (0..shape.connections)
            .map(|_| tokio::task::spawn_local(client.send(shape.requests)))
            .collect();
        for task in tasks {
            latencies.extend(task.await.expect("all requests are accepted"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_accepted() {
        let server = Server::start();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let shape = Shape { connections: 2, requests: 3, rounds: 1 };
        let measured = measure(shape, &server, &runtime);
        let first: Vec<&str> = measured.clients.iter().take(2).map(|client| client.name).collect();
        assert_eq!(first, ["hyper", "hyper_set_header"]);
        for (number, client) in measured.clients.iter().enumerate() {
            assert!(client.p50 > 0.0 && client.p99 >= client.p50, "{client:?}");
            assert!(measured.throughput.median(number) > 0.0, "{client:?}");
        }
    }

    #[test]
    #[should_panic(expected = "left: 401")]
    fn a_client_without_the_secret_is_refused() {
        let server = Server::start();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut client = clients::without_secret(server.address());
        runtime.block_on(client.send(1));
    }
}
