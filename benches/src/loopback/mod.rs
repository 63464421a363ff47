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
use crate::time::{pin, process_time};
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
    /// The name of each client and what it is, in the order of the rounds.
    pub clients: Vec<(&'static str, &'static str)>,
    /// Requests in a second of processor time, client and server together: as many as by the clock, when
    /// the core has nothing else to do.
    pub throughput: Rounds,
    /// The median time of a request in a turn, in microseconds.
    pub p50: Rounds,
    /// Of a hundred requests in a turn, one takes longer.
    pub p99: Rounds,
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
    for number in 0..clients.len() {
        turn(shape, runtime, clients.at(number));
    }
    let [throughput, p50, p99] = Rounds::take(shape.rounds, clients.len(), |number| {
        let start = process_time();
        let mut times = turn(shape, runtime, clients.at(number));
        let seconds = (process_time() - start).as_secs_f64();
        let throughput = times.len() as f64 / seconds;
        [throughput, percentile(&mut times, 0.5), percentile(&mut times, 0.99)]
    });
    let Shape { connections, .. } = shape;
    Loopback { connections, clients: clients.names().collect(), throughput, p50, p99 }
}

/// Microseconds of each request.
fn turn(shape: Shape, runtime: &Runtime, client: &mut dyn SendRequests) -> Vec<f64> {
    LocalSet::new().block_on(runtime, async {
        let tasks: Vec<_> = (0..shape.connections)
            .map(|_| tokio::task::spawn_local(client.send(shape.requests)))
            .collect();
        let mut times = Vec::with_capacity(shape.connections * shape.requests);
        for task in tasks {
            times.extend(task.await.expect("all requests are accepted"));
        }
        times
    })
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
        assert_eq!((measured.clients[0].0, measured.clients[1].0), ("hyper", "hyper_set_header"));
        for (number, (name, _)) in measured.clients.iter().enumerate() {
            let p50 = measured.p50.median(number);
            assert!(p50 > 0.0 && measured.p99.median(number) >= p50, "{name}");
            assert!(measured.throughput.median(number) > 0.0, "{name}");
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
