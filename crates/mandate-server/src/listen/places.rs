//! The places of requests in flight, which are limited. A request that waits, most likely for its body, gives
//! its place up when another request needs one. So half-sent requests cannot keep other callers out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The places that all listeners share.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: AtomicUsize,
    waiting: Mutex<WaitingRequests>,
}

/// The requests that wait, in the order in which they began to wait.
#[derive(Debug, Default)]
struct WaitingRequests {
    started: u64,
    displace: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place<'p>(&'p Places);

/// A request that waits, until it is dropped.
#[derive(Debug)]
pub struct Waiting<'p> {
    places: &'p Places,
    number: u64,
    displaced: oneshot::Receiver<()>,
}

impl Places {
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0), waiting: Mutex::default() }
    }

    /// Takes a place. If there is none, the request that has waited the longest gives up its own; `None` if no
    /// request waits. Until that request has ended, one more place is taken than there are.
    pub fn take(&self) -> Option<Place<'_>> {
        let place = Place(self);
        let is_free = self.taken.fetch_add(1, Ordering::Relaxed) < self.limit;
        (is_free || self.displace_oldest()).then_some(place)
    }

    fn displace_oldest(&self) -> bool {
        let Some((_, oldest)) = self.waiting().displace.pop_first() else { return false };
        // If nobody receives this, the request has just ended.
        let _ = oldest.send(());
        true
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingRequests> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Place<'p> {
    /// Marks the request as waiting.
    pub fn wait(&self) -> Waiting<'p> {
        let (displace, displaced) = oneshot::channel();
        let mut waiting = self.0.waiting();
        let number = waiting.started;
        waiting.started += 1;
        waiting.displace.insert(number, displace);
        Waiting { places: self.0, number, displaced }
    }
}

impl Waiting<'_> {
    /// Returns once another request needs the place.
    pub async fn displaced(&mut self) {
        // The sender is kept until it is used.
        let _ = (&mut self.displaced).await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.places.waiting().displace.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_displaced(waiting: &mut Waiting<'_>) -> bool {
        waiting.displaced.try_recv().is_ok()
    }

    #[test]
    fn the_request_that_has_waited_the_longest_gives_up_its_place() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        assert!(places.take().is_none(), "no request waits");
        let (mut second_waits, mut first_waits) = (second.wait(), first.wait());
        let fourth = places.take().unwrap();
        assert!(is_displaced(&mut second_waits) && !is_displaced(&mut first_waits));
        drop((second_waits, second));
        let fifth = places.take().unwrap();
        assert!(is_displaced(&mut first_waits));
        drop((first_waits, first));
        assert!(places.take().is_none(), "those that are left do not wait");
        drop(third);
        assert!(places.take().is_some());
        drop((fourth, fifth));
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_request_that_no_longer_waits_keeps_its_place() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        drop(place.wait());
        assert!(places.take().is_none());
    }
}
