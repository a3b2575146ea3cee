//! Finds the entities on which decisions can change with some other entities. A decision reads attributes and
//! ancestors of the principal, of the resource, and of the entities to which their attributes refer; of an
//! ancestor it reads only the parents. What is found here may be too much: the searches decide.

use std::collections::HashSet;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind};

use mandate_core::entities::{Entities, EntityDifference};
use mandate_core::policies::{CandidatePolicies, CompiledPolicy, ScopeConstraint};
use mandate_core::schema::{EntityUidRef, Schema};

pub type UidSet<'a> = HashSet<EntityUidRef<'a>>;

/// The entities that a change affects, by what policies read.
pub struct AffectedEntities<'a> {
    /// Those that came or went, or have other attributes or tags.
    direct: UidSet<'a>,
    /// These, and those with other ancestors.
    with_moved: UidSet<'a>,
    /// These, and those that refer to one of them, directly or not.
    all: UidSet<'a>,
}

impl<'a> AffectedEntities<'a> {
    /// `later` has the entities after the change; what is only in the earlier version differs by itself.
    pub fn new(differences: &[EntityDifference<'a>], later: &'a Entities, schema: &Schema) -> Self {
        // From its end on, an entity has no members, so another end moves them.
        let has_end = |uid: EntityUidRef<'_>| schema.entity_type(uid.entity_type).valid_until.is_some();
        let has_moved = |it: &&EntityDifference<'_>| {
            it.added_parents().chain(it.removed_parents()).next().is_some()
                || has_end(it.uid) && it.has_other_values(schema)
        };
        let has_other_values = |it: &&EntityDifference<'_>| {
            it.before.is_none() || it.after.is_none() || it.has_other_values(schema)
        };
        let moved = differences.iter().filter(has_moved).map(|it| it.uid).collect();
        let direct: UidSet<'_> = differences.iter().filter(has_other_values).map(|it| it.uid).collect();
        let with_moved = &direct | &with_members(moved, later, schema);
        let mut all = with_moved.clone();
        while add_referring(&mut all, later, schema) {}
        Self { direct, with_moved, all }
    }

    /// Those on which a decision by these policies can change.
    pub fn for_policies(&self, policies: &CandidatePolicies) -> &UidSet<'a> {
        // At level 1, policies read what an attribute is, but nothing of an entity to which it refers.
        if policies.level > 1 {
            &self.all
        } else if policies.all().any(|policy| reads_ancestors(policy)) {
            &self.with_moved
        } else {
            &self.direct
        }
    }
}

fn reads_ancestors(policy: &CompiledPolicy) -> bool {
    let is_in = |constraint: &ScopeConstraint| matches!(constraint, ScopeConstraint::In(..));
    let has_in = |part: &Expr| matches!(part.expr_kind(), ExprKind::BinaryApp { op: BinaryOp::In, .. });
    is_in(&policy.principal)
        || is_in(&policy.resource)
        || policy.condition.iter().flat_map(Expr::subexpressions).any(has_in)
}

/// The entities and everything in them.
fn with_members<'a>(mut open: Vec<EntityUidRef<'a>>, entities: &'a Entities, schema: &Schema) -> UidSet<'a> {
    let mut found: UidSet<'_> = open.iter().copied().collect();
    while let Some(uid) = open.pop() {
        let below = schema.entity_types().filter(|(_, info)| info.parent_types.contains(&uid.entity_type));
        for (entity_type, _) in below {
            let members = entities.members(Some(uid), entity_type, None, schema).map(|member| member.uid());
            open.extend(members.filter(|member| found.insert(*member)));
        }
    }
    found
}

/// Adds the entities whose attributes or tags name one of those; returns whether there were any.
fn add_referring<'a>(affected: &mut UidSet<'a>, entities: &'a Entities, schema: &Schema) -> bool {
    let before = affected.len();
    for entity in entities.iter() {
        let mut refers = false;
        let read = entity.for_each_reference(schema, &mut |uid| refers |= affected.contains(&uid));
        // Nothing can be decided on an entity that cannot be read, so the search has to see it.
        if refers || read.is_err() {
            affected.insert(entity.uid());
        }
    }
    affected.len() > before
}
