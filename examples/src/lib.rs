//! The programs in the guide's pages, compiled. The examples are in `src/bin`.

/// How to write a credential, a profile, a store and an authority.
#[cfg(doctest)]
#[doc = include_str!("../../docs/extending.md")]
struct Extending;
