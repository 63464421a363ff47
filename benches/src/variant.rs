//! One thing that is measured, and a set of them that are compared.

use std::fmt;

/// One way to send a token request, or to get a token.
pub struct Variant {
    name: &'static str,
    what: &'static str,
    turn: Box<dyn Turn>,
}

/// Calls in a loop of their own, compiled for one variant alone: only the loop is called through a
/// pointer, never what is measured.
trait Turn: Send {
    fn run(&mut self, calls: u64);
    fn fork(&self) -> Box<dyn Turn>;
}

impl<F: FnMut() + Clone + Send + 'static> Turn for F {
    fn run(&mut self, calls: u64) {
        for _ in 0..calls {
            self();
        }
    }

    fn fork(&self) -> Box<dyn Turn> {
        Box::new(self.clone())
    }
}

impl Variant {
    pub(crate) fn new<F>(name: &'static str, what: &'static str, call: F) -> Self
    where
        F: FnMut() + Clone + Send + 'static,
    {
        Self { name, what, turn: Box::new(call) }
    }

    /// The name, as the tables and the programs of this package have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Makes this many calls. The first few may warm up what is kept between calls.
    ///
    /// # Panics
    ///
    /// When a call does not end with 200, or not at once.
    pub fn run(&mut self, calls: u64) {
        self.turn.run(calls);
    }

    /// The same for another thread: a clone of the service, which shares what clones of it share (the
    /// ring, the header value, the lock).
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { name: self.name, what: self.what, turn: self.turn.fork() }
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Variants that do the same work, so that their figures can be compared. The first is the floor.
#[derive(Debug)]
pub struct Group {
    /// What each call is.
    pub title: &'static str,
    /// The floor, then what is compared with it.
    pub variants: Vec<Variant>,
}
