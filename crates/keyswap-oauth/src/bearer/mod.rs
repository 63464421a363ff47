//! Calls to APIs with the tokens of a source.

mod body;
mod challenge;
mod error;
mod future;
mod layer;
mod middleware;
mod service;

pub use body::BearerBody;
pub use error::{BearerError, ClearTextError};
pub use future::BearerFuture;
pub use layer::BearerLayer;
pub use middleware::BearerMiddleware;
pub use service::Bearer;
