//! The published list: compare-and-set by revision, linearizable reads, every value that is allowed.

use std::time::Duration;

use keyswap_core::{Revision, SecretList};
use keyswap_store::{SecretStore, StoreErrorKind};

use super::{Outcome, Subject, ensure, list, published, secret, unexpected};

pub(super) async fn a_list_is_imported_once<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("imported-once").await;
    let found = store.published().await.map_err(unexpected("reading an empty store"))?;
    ensure!(found.is_none(), "a list is there before any was imported");
    let first = list(&["first"]);
    let revision = store.import(&first).await.map_err(unexpected("the first import"))?;
    ensure!(revision == Revision::new(1), "the first revision is {revision}, not 1");
    match store.import(&list(&["other"])).await {
        Ok(_) => return Err("a second import was taken".to_owned()),
        Err(error) => ensure!(error.is_already_exists(), "the second import: {error}"),
    }
    let document = published(&store).await?;
    ensure!(document.list == first, "the second import changed the list");
    ensure!(document.revision == revision, "it is read with revision {}", document.revision);
    ensure!(document.attest_every.is_none(), "instances are asked to attest after an import");
    Ok(())
}

pub(super) async fn of_many_imports_one_wins<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let mut imports = Vec::new();
    for number in 0..8 {
        let store = subject.open("many-imports").await;
        let list = list(&[&format!("of-{number}")]);
        imports.push((
            tokio::spawn({
                let list = list.clone();
                async move { store.import(&list).await }
            }),
            list,
        ));
    }
    let mut won = Vec::new();
    for (import, list) in imports {
        match import.await.map_err(|error| error.to_string())? {
            Ok(_) => won.push(list),
            // Where writes are slow, a short lease may end before its import does.
            Err(error) => ensure!(
                error.is_already_exists() || error.is_held() || error.is_lease_lost(),
                "one that lost says: {error}"
            ),
        }
    }
    ensure!(won.len() == 1, "{} of 8 imports were taken", won.len());
    let document = published(&subject.open("many-imports").await).await?;
    ensure!(won.contains(&document.list), "another list is there than the one that was taken");
    Ok(())
}

pub(super) async fn a_published_list_is_read_by_everybody_at_once<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("read-at-once").await?;
    let other = subject.open("read-at-once").await;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let mut revision = Revision::new(1);
    for (round, attest_every) in
        [None, Some(Duration::from_millis(2500)), None].into_iter().enumerate()
    {
        let list = list(&[&format!("new-{round}"), "first"]);
        let next = store.publish(&lease, revision, &list, attest_every).await;
        let next = next.map_err(unexpected("publishing"))?;
        ensure!(next > revision, "revision {next} follows {revision}");
        revision = next;
        for (who, reader) in [("the writer", &store), ("another handle", &other)] {
            let document = published(reader).await?;
            ensure!(document.revision == revision, "{who} reads revision {}", document.revision);
            ensure!(document.list == list, "{who} reads another list, or in another order");
            ensure!(document.attest_every == attest_every, "{who} reads another time to attest");
        }
    }
    Ok(())
}

pub(super) async fn a_publication_over_another_revision_writes_nothing<S, O>(
    subject: &Subject<'_, O>,
) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("another-revision").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let second = store.publish(&lease, Revision::new(1), &list(&["second"]), None).await;
    let second = second.map_err(unexpected("publishing"))?;
    for expected in [Revision::new(1), second.next(), Revision::INITIAL] {
        match store.publish(&lease, expected, &list(&["third"]), None).await {
            Ok(_) => return Err(format!("it was taken over revision {expected}")),
            Err(error) => {
                let wanted = StoreErrorKind::Conflict { expected, found: second };
                ensure!(*error.kind() == wanted, "over revision {expected}: {error}");
            }
        }
    }
    let document = published(&store).await?;
    ensure!(document.revision == second, "the revision moved to {}", document.revision);
    ensure!(document.list == list(&["second"]), "the list was changed");
    Ok(())
}

pub(super) async fn a_publication_needs_a_list_to_replace<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("nothing-to-replace").await;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    match store.publish(&lease, Revision::INITIAL, &list(&["first"]), None).await {
        Ok(_) => return Err("it was taken without a list before it".to_owned()),
        Err(error) => ensure!(error.is_not_found(), "{error}"),
    }
    let found = store.published().await.map_err(unexpected("reading the list"))?;
    ensure!(found.is_none(), "something was written");
    Ok(())
}

pub(super) async fn of_many_publications_one_wins<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.with_list("many-publications").await?;
    let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
    let lease = std::sync::Arc::new(lease);
    let publish = |number: i32| {
        let (store, lease) = (store.clone(), std::sync::Arc::clone(&lease));
        let list = list(&[&format!("of-{number}")]);
        tokio::spawn(async move {
            let revision = store.publish(&lease, Revision::new(1), &list, None).await;
            (revision, list)
        })
    };
    let publications: Vec<_> = (0..8).map(publish).collect();
    let mut won = Vec::new();
    for publication in publications {
        let (revision, list) = publication.await.map_err(|error| error.to_string())?;
        match revision {
            Ok(revision) => won.push((revision, list)),
            Err(error) => ensure!(error.is_conflict(), "one that lost says: {error}"),
        }
    }
    ensure!(won.len() == 1, "{} of 8 publications over one revision were taken", won.len());
    let document = published(&store).await?;
    ensure!(won.contains(&(document.revision, document.list)), "another list is there");
    Ok(())
}

pub(super) async fn every_allowed_character_comes_back<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("characters").await;
    let printable: String = (' '..='~').collect();
    // Beyond ASCII: two, three and four bytes, a combining mark, a private character, a byte order mark.
    let others = "äßø€漢字\u{1f511}e\u{301}\u{e000}\u{feff}\u{2028}\u{a0}";
    let list = SecretList::new([
        secret("printable", &printable),
        secret("others", others),
        secret("blank", "  "),
        secret("json", r#"\u0000\"},{"id":"x","value":"y"#),
        secret("._-", "an-id-of-the-other-characters"),
    ]);
    let list = list.map_err(|error| error.to_string())?;
    store.import(&list).await.map_err(unexpected("importing"))?;
    let found = published(&subject.open("characters").await).await?.list;
    for (wanted, found) in list.iter().zip(found.iter()) {
        let (id, found_id) = (wanted.id(), found.id());
        ensure!(id == found_id, "{found_id} stands where {id} was");
        ensure!(wanted == found, "the value of {id} came back as another one");
    }
    ensure!(found.len() == list.len(), "{} of {} secrets came back", found.len(), list.len());
    Ok(())
}

pub(super) async fn the_largest_list_comes_back<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    let store = subject.open("largest").await;
    // The most secrets that a list takes, each as long as one may be.
    let secrets = (b'a'..b'a' + 16).map(|letter| {
        let letter = char::from(letter).to_string();
        secret(&letter.repeat(64), &letter.repeat(4096))
    });
    let list = SecretList::new(secrets).map_err(|error| error.to_string())?;
    store.import(&list).await.map_err(unexpected("importing"))?;
    ensure!(published(&store).await?.list == list, "another list came back");
    Ok(())
}

pub(super) async fn clients_do_not_see_each_other<S, O>(subject: &Subject<'_, O>) -> Outcome
where
    S: SecretStore,
    O: AsyncFn(&str) -> S,
{
    // Ids of clients are the server's: some are URLs, and one may look like a part of another.
    let clients = ["a", "a/b", "a%2Fb", "a b", "https://a.example/b", "ä", "..", "A"];
    for client in clients {
        let store = subject.open(client).await;
        let found = store.published().await.map_err(unexpected("reading an empty store"))?;
        ensure!(found.is_none(), "client {client} finds the list of another one");
        let own = list(&[&format!("s{}", client.len()), "own"]);
        store.import(&own).await.map_err(unexpected("importing"))?;
        let lease = store.acquire("a rule").await.map_err(unexpected("taking the lease"))?;
        let saved = store.save_journal(&lease, client.as_bytes()).await;
        saved.map_err(unexpected("saving the journal"))?;
    }
    for client in clients {
        let store = subject.open(client).await;
        let journal = store.journal().await.map_err(unexpected("reading the journal"))?;
        let is_own = journal.is_some_and(|journal| journal.as_slice() == client.as_bytes());
        ensure!(is_own, "client {client} finds the journal of another one");
        let instances = store.instances().await.map_err(unexpected("listing"))?;
        ensure!(instances.is_empty(), "client {client} has instances that nobody registered");
    }
    Ok(())
}
