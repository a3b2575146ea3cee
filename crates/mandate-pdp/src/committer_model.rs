//! A plain model of partners, consents and who may register, and the check that what was seen fits one serial order:
//! that of the log.

use std::collections::BTreeMap;

/// What somebody does; ids and names are indices.
#[derive(Debug, Clone)]
pub enum Act {
    Request { partner: usize, customer: usize, id: u64 },
    Accept { customer: usize, id: u64 },
    Revoke { partner: usize, id: u64 },
    Activate { partner: usize, active: bool },
}

#[derive(Debug, Clone)]
struct Consent {
    partner: usize,
    customer: usize,
    accepted: bool,
    counts: bool,
}

#[derive(Debug, Clone)]
struct Model {
    active: [bool; 2],
    consents: BTreeMap<u64, Consent>,
}

impl Model {
    fn permits(&self, act: &Act, frozen: bool) -> bool {
        match act {
            Act::Request { partner, id, .. } => self.active[*partner] && !self.consents.contains_key(id),
            Act::Accept { customer, id } => self.consents.get(id).is_some_and(|consent| {
                consent.customer == *customer && !consent.accepted && self.active[consent.partner] && !frozen
            }),
            Act::Revoke { partner, id } => self.consents.get(id).is_some_and(|it| it.partner == *partner),
            Act::Activate { .. } => true,
        }
    }

    fn perform(&mut self, act: &Act) {
        match act {
            Act::Request { partner, customer, id } => {
                let consent =
                    Consent { partner: *partner, customer: *customer, accepted: false, counts: false };
                self.consents.insert(*id, consent);
            }
            Act::Accept { id, .. } => {
                let consent = self.consents.get_mut(id).unwrap();
                (consent.accepted, consent.counts) = (true, true);
            }
            Act::Revoke { id, .. } => self.consents.get_mut(id).unwrap().counts = false,
            Act::Activate { partner, active } => self.active[*partner] = *active,
        }
    }

    fn may_register(&self, partner: usize, customer: usize) -> bool {
        let covers =
            |consent: &Consent| consent.counts && (consent.partner, consent.customer) == (partner, customer);
        self.active[partner] && self.consents.values().any(covers)
    }
}

/// What was seen; numbers are sequences of the log.
#[derive(Debug)]
pub enum Seen {
    Committed {
        act: Act,
        at: u64,
    },
    /// Denied, or not performable, at some moment between two positions.
    Refused {
        act: Act,
        from: u64,
        to: u64,
    },
    /// `acknowledged` is the last position that anybody had an answer for when the reader asked.
    Read {
        partner: usize,
        customer: usize,
        at: u64,
        acknowledged: u64,
        permit: bool,
    },
    /// Policies came into use at a position.
    Policies {
        at: u64,
        frozen: bool,
    },
}

/// Checks that all that was seen is what one serial order gives: that of the log.
pub fn check(seen: &[Seen]) {
    let mut published = vec![(0, false)];
    let mut log: BTreeMap<u64, &Act> = BTreeMap::new();
    for seen in seen {
        match seen {
            Seen::Policies { at, frozen } => published.push((*at, *frozen)),
            Seen::Committed { act, at } => assert!(log.insert(*at, act).is_none(), "two changes are at {at}"),
            Seen::Refused { .. } | Seen::Read { .. } => {}
        }
    }
    // The policies that decided the transaction after a position.
    let frozen_after = |at: u64| published.iter().rev().find(|(begin, _)| *begin <= at).unwrap().1;
    // Those in use at some time while the entities were at a position.
    let in_use_at = |at: u64| {
        let ends = published.iter().skip(1).map(|(begin, _)| *begin).chain([u64::MAX]);
        published
            .iter()
            .zip(ends)
            .filter(move |((begin, _), end)| (*begin..=*end).contains(&at))
            .map(|(it, _)| it.1)
    };
    let mut model = Model { active: [true; 2], consents: BTreeMap::new() };
    let mut states = BTreeMap::from([(1, model.clone())]);
    for (index, (at, act)) in (2..).zip(&log) {
        assert_eq!(index, *at, "the log has a hole");
        assert!(model.permits(act, frozen_after(at - 1)), "{act:?} was committed at {at} on {model:?}");
        model.perform(act);
        states.insert(*at, model.clone());
    }
    for seen in seen {
        match seen {
            Seen::Refused { act, from, to } => {
                let explained =
                    (*from..=*to).any(|at| in_use_at(at).any(|frozen| !states[&at].permits(act, frozen)));
                assert!(explained, "{act:?} was refused between {from} and {to}");
            }
            Seen::Read { partner, customer, at, acknowledged, permit } => {
                assert_eq!(
                    *permit,
                    states[at].may_register(*partner, *customer),
                    "{seen:?}: {:?}",
                    states[at]
                );
                assert!(at >= acknowledged, "{seen:?}: an older state was read than was acknowledged");
            }
            Seen::Committed { .. } | Seen::Policies { .. } => {}
        }
    }
}
