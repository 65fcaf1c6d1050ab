//! How many streams may be open: a few of each account, and no more than leave room for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places for streams.
#[derive(Debug)]
pub(crate) struct Places {
    of_account: usize,
    of_all: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    account: String,
}

impl Places {
    /// So many of each account; over all at most half of the connections.
    pub(crate) fn new(of_account: usize, connections: usize) -> Arc<Self> {
        Arc::new(Self {
            of_account,
            of_all: connections.div_ceil(2),
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for an account, if there is one.
    pub(super) fn take(self: &Arc<Self>, account: &str) -> Option<Place> {
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(account).copied().unwrap_or(0);
        if all >= self.of_all || own >= self.of_account {
            return None;
        }
        taken.insert(account.to_owned(), own.saturating_add(1));
        Some(Place {
            places: Arc::clone(self),
            account: account.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.account) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => drop(taken.remove(&self.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn an_account_has_so_many_and_all_together_half_of_the_connections() {
        let places = Places::new(2, 6);
        let mut a = vec![places.take("a").unwrap(), places.take("a").unwrap()];
        assert!(places.take("a").is_none());
        let b = places.take("b").unwrap();
        assert!(places.take("b").is_none(), "half of six are taken");
        a.pop();
        let again = places.take("b").unwrap();
        drop((a, b, again));
        assert!(places.taken().is_empty(), "nothing is kept of who left");
    }
}
