//! The view store over its connections.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{
    store::Position,
    views::{Editions, Entry, Error, Key, Range, ViewCommit, ViewStore},
};
use ports_postgres::{Address, Client, Server, Trouble};
use tokio::time::timeout;

use crate::{
    Limits,
    commit::{self, Failure},
    query,
    readers::Readers,
    schema::SCHEMA,
};

/// The view store on a PostgreSQL server.
pub struct PostgresViews {
    readers: Readers,
    writers: Server,
    editions: Arc<Editions>,
    limits: Limits,
}

impl PostgresViews {
    /// Connects to a database, and makes its tables if need be or brings them forward.
    ///
    /// # Errors
    /// [`crate::Error`] when the server cannot be reached within [`Limits::connect_max`], or its tables are a newer
    /// program's.
    pub async fn connect(address: impl Into<Address>, limits: &Limits) -> Result<Self, crate::Error> {
        Self::with_replicas(address, &[], limits).await
    }

    /// The same, and queries go to whichever of these replicas is far enough; they need not be there yet.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn with_replicas(
        address: impl Into<Address>,
        replicas: &[Address],
        limits: &Limits,
    ) -> Result<Self, crate::Error> {
        let address = address.into();
        let (readers, writers) = (Server::new(&address, &limits.readers())?, Server::new(&address, &limits.writers())?);
        SCHEMA.prepare(&writers, limits.migrate_max).await?;
        let editions = Arc::new(query::editions(&readers).await?);
        let readers = Readers::new(readers, replicas, limits)?;
        Ok(Self { readers, writers, editions, limits: limits.clone() })
    }

    /// What came of a write within the deadline; a connection that is of no more use goes.
    fn finish<T>(
        &self,
        client: Client,
        done: Result<Result<T, Failure>, tokio::time::error::Elapsed>,
    ) -> Result<T, Error> {
        let failure = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => Trouble::Late(self.limits.commit_max).into(),
        };
        match failure {
            Failure::Port(error) => Err(error),
            Failure::Server(trouble) => {
                trouble.retire(client);
                Err(trouble.into())
            }
        }
    }
}

impl fmt::Debug for PostgresViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresViews(…)")
    }
}

#[async_trait]
impl ViewStore for PostgresViews {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        query::position(&self.readers, view).await
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        if commits.is_empty() {
            return Ok(());
        }
        let (writers, limits, editions) = (self.writers.clone(), self.limits.clone(), Arc::clone(&self.editions));
        let work = async move {
            let mut client = writers.client().await?;
            let work = async {
                let standings = commit::commit(&mut client, &commits, &limits, &editions).await?;
                Ok(standings.into_iter().map(|(view, stands)| (view.to_owned(), stands)).collect::<Vec<_>>())
            };
            let done = timeout(limits.commit_max, work).await;
            Ok::<_, Trouble>((client, done))
        };
        // In a task of its own it goes on while its caller folds what comes next.
        #[expect(clippy::disallowed_methods, reason = "the rows are sent beside the folding, not in its pauses")]
        let (client, done) = tokio::spawn(work).await.map_err(|gone| Error::Failed(gone.to_string()))??;
        for (view, stands) in self.finish(client, done)? {
            self.editions.committed(&view, stands.edition);
            self.readers.tell(&view, stands.position, stands.edition);
        }
        Ok(())
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        query::get_many(&self.readers, view, keys).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        query::range(&self.readers, &range).await
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        let mut client = self.writers.client().await?;
        let done = timeout(self.limits.commit_max, commit::replace(&mut client, view, with)).await;
        self.finish(client, done)?;
        self.readers.forget(with);
        Ok(())
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        let mut client = self.writers.client().await?;
        let done = timeout(self.limits.commit_max, commit::drop_view(&mut client, view)).await;
        self.finish(client, done)?;
        self.readers.forget(view);
        Ok(())
    }
}
