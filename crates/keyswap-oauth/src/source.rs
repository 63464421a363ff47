//! The token that all callers share.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use reqwest_middleware::ClientWithMiddleware;
use url::Url;

use crate::error::TokenError;
use crate::fetch::{TokenRequest, now};
use crate::flight::{Boarded, Flights, Turn};
use crate::token::Token;

/// How long a token that is still good is used after another one could not be had, before the next try;
/// and how long one that took the place of a refused token is used if it is refused as well.
const SPARED: Duration = Duration::from_secs(10);
/// How long a caller that has a good token waits for the next one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches access tokens by the client-credentials grant, and keeps the last one for all callers.
///
/// A clone is another handle on the same token. Nothing is spawned: a caller fetches, while the others
/// wait for its result, or use the token that there is if that is good for a while yet. A caller that
/// goes away while it fetches leaves the work to the next.
///
/// Towards the end of a token's life, of which it uses the last tenth or at most a minute for that and up to
/// half as much again at random, one caller fetches the next token. It waits for five seconds at most
/// and then goes on with the one it has.
#[derive(Clone)]
pub struct TokenSource {
    shared: Arc<Shared>,
}

struct Shared {
    request: TokenRequest,
    /// Written by whoever has the turn to fetch, and by nobody else.
    kept: ArcSwapOption<Kept>,
    flights: Flights,
}

/// A token and what else there is to know of it. Replaced as a whole.
struct Kept {
    token: Token,
    /// From when on somebody should try to get another one.
    renew: Option<Instant>,
    /// Until when it is not renewed because it was refused: it took the place of a refused one already.
    spared_until: Option<Instant>,
}

impl Kept {
    fn new(token: Token) -> Self {
        Self { renew: token.renew_at(), token, spared_until: None }
    }

    /// Whether there is nothing to do but to use it.
    fn is_fresh(&self) -> bool {
        self.renew.is_none_or(|renew| now() < renew)
    }

    fn is_expired(&self) -> bool {
        self.token.is_expired(now())
    }

    /// Whether another one may be fetched because this one was refused.
    fn may_be_renewed(&self) -> bool {
        self.is_expired() || self.spared_until.is_none_or(|until| now() >= until)
    }
}

impl TokenSource {
    /// Tokens from this endpoint. The client puts the client authentication on the request: give it a
    /// fallback middleware.
    #[must_use]
    pub fn new(client: ClientWithMiddleware, endpoint: Url) -> Self {
        let parameters = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        Self::of(TokenRequest { client, endpoint, parameters })
    }

    /// Adds a parameter to the token request: `scope`, or `audience` where the server wants one.
    ///
    /// The result keeps its own token.
    #[must_use]
    pub fn parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut request = self.shared.request.clone();
        request.parameters.push((name.into(), value.into()));
        Self::of(request)
    }

    fn of(request: TokenRequest) -> Self {
        let shared = Shared { request, kept: ArcSwapOption::empty(), flights: Flights::default() };
        Self { shared: Arc::new(shared) }
    }

    /// A token that is good now.
    ///
    /// Towards the end of its life one caller fetches the next one, while the others go on with it; if
    /// that fails, it serves until it is over, with a try every ten seconds.
    ///
    /// While a token is good and not near its end, this neither waits nor allocates.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if there is none and none can be had. Everybody who waited for a fetch gets its
    /// error; whoever comes later tries again.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled, when a token nears its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets another caller fetch, at once if one waits.
    #[inline]
    pub fn token(&self) -> TokenFuture<'_> {
        TokenFuture { source: self, obtaining: None }
    }

    /// A token other than `refused`, which a server did not take: the one that is kept if it is
    /// another one already, or a new one.
    ///
    /// It is `refused` again, with nothing fetched, while that is less than ten seconds old and itself
    /// took the place of a refused one: a server that refuses every token shall not make this a source of
    /// endless token requests.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    ///
    /// # Cancel safety
    ///
    /// As [`token`](Self::token).
    pub async fn renew(&self, refused: &Token) -> Result<Token, TokenError> {
        let look = || {
            let kept = self.shared.kept.load();
            let kept = kept.as_ref()?;
            let good =
                if kept.token.is(refused) { !kept.may_be_renewed() } else { !kept.is_expired() };
            good.then(|| kept.token.clone())
        };
        match self.shared.flights.board(look).await {
            Boarded::There(token) => Ok(token),
            Boarded::Ended(result) => self.result(result),
            Boarded::Turn(turn) => self.fetch(turn, true).await,
        }
    }

    /// Whether [`renew`](Self::renew) would give another token than this one, if one can be had.
    pub(crate) fn may_renew(&self, refused: &Token) -> bool {
        let kept = self.shared.kept.load();
        kept.as_ref().is_none_or(|kept| !kept.token.is(refused) || kept.may_be_renewed())
    }

    /// The token that is kept, if nothing is to be done about it.
    #[inline]
    pub(crate) fn fresh(&self) -> Option<Token> {
        let kept = self.shared.kept.load();
        let kept = kept.as_ref()?;
        kept.is_fresh().then(|| kept.token.clone())
    }

    async fn obtain(&self) -> Result<Token, TokenError> {
        let aging = self.shared.kept.load_full().filter(|kept| !kept.is_expired());
        if let Some(aging) = aging {
            return self.renew_ahead(aging).await;
        }
        let look = || {
            let kept = self.shared.kept.load();
            kept.as_ref().filter(|kept| !kept.is_expired()).map(|kept| kept.token.clone())
        };
        match self.shared.flights.board(look).await {
            Boarded::There(token) => Ok(token),
            Boarded::Ended(result) => self.result(result),
            Boarded::Turn(turn) => self.fetch(turn, false).await,
        }
    }

    async fn renew_ahead(&self, aging: Arc<Kept>) -> Result<Token, TokenError> {
        let Some(turn) = self.shared.flights.board_now() else { return Ok(aging.token.clone()) };
        // Whoever had the turn before may have fetched it, or tried in vain.
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let mut fetching = pin!(self.fetch(turn, false));
        let fetched = match tokio::time::timeout(PATIENCE, fetching.as_mut()).await {
            Ok(Ok(token)) => return Ok(token),
            Ok(Err(error)) => Err(error),
            // There is no other: it waits on.
            Err(_) if aging.is_expired() => fetching.await,
            // The turn is given back behind this, when the fetch is dropped.
            Err(_) => {
                self.spare(&aging);
                return Ok(aging.token.clone());
            }
        };
        match fetched {
            Err(_) if !aging.is_expired() => Ok(aging.token.clone()),
            fetched => fetched,
        }
    }

    /// Fetches a token and keeps it, or else the one that there is.
    async fn fetch(&self, turn: Turn<'_>, in_place_of_refused: bool) -> Result<Token, TokenError> {
        let fetched = self.shared.request.send().await;
        turn.end(fetched.as_ref().err().cloned(), || match &fetched {
            Ok(token) => {
                let mut kept = Kept::new(token.clone());
                kept.spared_until = in_place_of_refused.then(|| now() + SPARED);
                self.shared.kept.store(Some(Arc::new(kept)));
            }
            Err(_) => {
                if let Some(kept) = &*self.shared.kept.load() {
                    self.spare(kept);
                }
            }
        });
        fetched
    }

    /// Lets a token that nears its end be used for a while without another try.
    fn spare(&self, kept: &Kept) {
        if kept.is_fresh() || kept.is_expired() {
            return;
        }
        self.shared.kept.store(Some(Arc::new(Kept {
            token: kept.token.clone(),
            renew: Some(now() + SPARED).min(kept.token.end()),
            spared_until: kept.spared_until,
        })));
    }

    /// What a fetch by another caller means for those who waited for it: its token is theirs, even if
    /// the server let it end at once.
    fn result(&self, ended: Result<(), TokenError>) -> Result<Token, TokenError> {
        ended?;
        let kept = self.shared.kept.load();
        Ok(kept.as_ref().expect("a fetch that succeeded keeps its token").token.clone())
    }
}

/// The future of [`TokenSource::token`].
///
/// It is written out so that a token that is there costs its callers no more than the look at it.
#[must_use = "futures do nothing unless they are polled"]
pub struct TokenFuture<'a> {
    source: &'a TokenSource,
    /// Only where the token that is kept is not fresh.
    obtaining: Option<Obtaining<'a>>,
}

type Obtaining<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + 'a>>;

impl Future for TokenFuture<'_> {
    type Output = Result<Token, TokenError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Also while it waits: whoever fetches may have put one there.
        match self.source.fresh() {
            Some(token) => Poll::Ready(Ok(token)),
            None => self.obtain(cx),
        }
    }
}

impl TokenFuture<'_> {
    #[cold]
    #[inline(never)]
    fn obtain(&mut self, cx: &mut Context<'_>) -> Poll<Result<Token, TokenError>> {
        let source = self.source;
        self.obtaining.get_or_insert_with(|| Box::pin(source.obtain())).as_mut().poll(cx)
    }
}

impl fmt::Debug for TokenFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFuture").field("source", self.source).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("endpoint", &self.shared.request.endpoint.host_str())
            .finish_non_exhaustive()
    }
}
