//! How many requests are served at once: in all, and for one principal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::s3::Principal;

/// Counts requests. The limits come with each, for a reload may change them.
#[derive(Debug, Default)]
pub struct Admission {
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
    /// A place among so many; `None` when all are taken.
    pub fn enter(self: &Arc<Self>, bound: usize) -> Option<Place> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < bound).then_some(place)
    }

    /// One of so many places of the principal; `None` when all of its own are taken.
    pub fn enter_as(self: &Arc<Self>, principal: &Principal, bound: usize) -> Option<ClientPlace> {
        let mut by_principal = self.by_principal.lock();
        match by_principal.get_mut(principal) {
            Some(count) if *count >= bound => return None,
            Some(count) => *count += 1,
            None if bound == 0 => return None,
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
        let admission = Arc::new(Admission::default());
        let first = admission.enter(2).unwrap();
        let _second = admission.enter(2).unwrap();
        assert!(admission.enter(2).is_none());
        assert!(
            admission.enter(2).is_none(),
            "a refused request holds no place"
        );
        drop(first);
        assert!(admission.enter(2).is_some());
    }

    #[test]
    fn one_client_cannot_take_the_places_of_another() {
        let admission = Arc::new(Admission::default());
        let (a, b) = (Principal::Client("a".into()), Principal::Client("b".into()));
        let place = admission.enter_as(&a, 1).unwrap();
        assert!(admission.enter_as(&a, 1).is_none());
        assert!(admission.enter_as(&b, 1).is_some());
        drop(place);
        assert!(admission.enter_as(&a, 1).is_some());
        assert!(admission.by_principal.lock().is_empty());
    }
}
