//! Every state that a rotation can get into, in a world where things go wrong.
//!
//! The step is the real one, and its record is the journal. Around it is a world of a few nodes,
//! instances, requests and processes, in which at each moment anything may happen that can:
//! [`stateright`](https://docs.rs/stateright) tries it all. `KEYSWAP_MODEL=all` tries it in larger
//! worlds, and `KEYSWAP_MODEL=1/3` in the second of three parts of them:
//!
//! ```text
//! KEYSWAP_MODEL=all cargo test --release -p keyswap-model -- --nocapture --test-threads 1
//! ```
//!
//! # What is taken for granted
//!
//! - Every node takes up a change within the propagation window, and the changes in their order.
//! - A request that passed the look at the lease reaches the server within the in-flight bound, or
//!   never. No server here can tell a late request from a timely one, so a process that is paused just
//!   then still sends it. The exception is the world in which requests come later than that, where all
//!   that is asked is that their values are known.
//! - The store does what it says: a write is there or not, and one without the lease is turned away.
//! - Clocks go forward, and the processes of one rotation share one. Time goes in ticks; how often
//!   something is asked is left open, so a process is as slow or as quick as is worst.
//! - An instance is its list: which secret it tries first is left open, and one that was paused past its
//!   lease asks for the published list when everything is refused.
//!
//! # What is left out
//!
//! Servers that list something else than what they have taken; a second rotation at a server with several
//! secrets; lists that somebody else publishes, damaged journals, clocks that are set, and how many passes a request
//! takes inside the window, which has its own simulation in `keyswap-core`.
#![forbid(unsafe_code)]

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod check;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rotations;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod search;
#[cfg(test)]
mod slots;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
