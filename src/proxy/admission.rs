//! How many requests are served at once: in all, and for one principal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::s3::Principal;

/// Counts requests against the limits.
#[derive(Debug)]
pub struct Admission {
    requests: usize,
    requests_per_client: usize,
    in_flight: AtomicUsize,
    by_principal: Mutex<HashMap<Principal, usize>>,
}

/// A place among the requests served at once; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Admission>);

/// A place among the requests of one principal; given back when dropped.
#[derive(Debug)]
pub struct ClientPlace {
    admission: Arc<Admission>,
    principal: Principal,
}

impl Admission {
    /// Nobody is inside yet.
    pub fn new(requests: usize, requests_per_client: usize) -> Self {
        Self {
            requests,
            requests_per_client,
            in_flight: AtomicUsize::new(0),
            by_principal: Mutex::default(),
        }
    }

    /// A place among all; `None` when all are taken.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.requests).then_some(place)
    }

    /// A place among those of the principal; `None` when all of its own are taken.
    pub fn enter_as(self: &Arc<Self>, principal: &Principal) -> Option<ClientPlace> {
        let mut by_principal = self.by_principal.lock();
        match by_principal.get_mut(principal) {
            Some(count) if *count >= self.requests_per_client => return None,
            Some(count) => *count += 1,
            None if self.requests_per_client == 0 => return None,
            None => {
                by_principal.insert(principal.clone(), 1);
            }
        }
        Some(ClientPlace {
            admission: Arc::clone(self),
            principal: principal.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut by_principal = self.admission.by_principal.lock();
        if let Some(count) = by_principal.get_mut(&self.principal) {
            *count -= 1;
            // Web identities come and go: nothing is kept of those that are not here.
            if *count == 0 {
                by_principal.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let admission = Arc::new(Admission::new(2, 1));
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        assert!(admission.enter().is_none());
        assert!(
            admission.enter().is_none(),
            "a refused request holds no place"
        );
        drop(first);
        assert!(admission.enter().is_some());
    }

    #[test]
    fn one_client_cannot_take_the_places_of_another() {
        let admission = Arc::new(Admission::new(10, 1));
        let (a, b) = (Principal::Client("a".into()), Principal::Client("b".into()));
        let place = admission.enter_as(&a).unwrap();
        assert!(admission.enter_as(&a).is_none());
        assert!(admission.enter_as(&b).is_some());
        drop(place);
        assert!(admission.enter_as(&a).is_some());
        assert!(admission.by_principal.lock().is_empty());
    }
}
