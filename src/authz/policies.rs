//! Policies: parsed, validated against the schema, and indexed by what a request can match.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint, ValidationMode, Validator,
};
use smol_str::{SmolStr, format_smolstr};

use super::depth;
use super::digest::Digest;
use super::fault::{Fault, Faults, Place, Severity, SourceText};
use super::findings;
use super::schema::{ActionId, ActionInfo, Kind, Schema};
use super::stamp::Stamp;

/// How deep policies may follow references: `principal.active` is 1, `resource.customer in
/// principal` is 2. It bounds what a decision has to gather.
pub const DEEPEST_LEVEL: u32 = 4;

/// What people know a policy by.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// The `@id`, or the file and the position in it where there is none.
    pub id: SmolStr,
    /// The `@reason`: a sentence that a gateway can show.
    pub reason: Option<SmolStr>,
    pub forbids: bool,
    pub place: Option<Place>,
}

/// Two infos are the same policy when they have the same id; ids are unique in a set.
impl PartialEq for PolicyInfo {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PolicyInfo {}

/// What a request is indexed by: its action, principal type and resource type.
pub type Environment = (ActionId, Kind, Kind);

/// The policies whose scope fits an environment.
#[derive(Debug, Default)]
pub struct Candidates {
    pub set: PolicySet,
    /// The permits among them, by id.
    pub permits: Vec<Arc<PolicyInfo>>,
}

/// A validated set of policies with the schema that it was validated against.
pub struct Policies {
    stamp: Stamp,
    digest: Digest,
    schema: Arc<Schema>,
    level: u32,
    set: PolicySet,
    infos: HashMap<PolicyId, Arc<PolicyInfo>>,
    candidates: HashMap<Environment, Candidates>,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policies({}, {} policies)", self.digest.short(), self.len())
    }
}

impl Policies {
    /// Parses and validates the files together; the order they come in does not matter.
    /// Warnings come beside the policies.
    ///
    /// # Errors
    /// Everything that does not parse, repeats an `@id`, is a template, or does not validate.
    pub fn parse(files: &[Arc<SourceText>], schema: Arc<Schema>) -> Result<(Self, Faults), Faults> {
        let (files, mut parsed) = Parsed::read(files);
        let level = parsed.validate(&schema);
        let faults = parsed.faults.into_result()?;
        let infos: HashMap<_, _> = parsed.infos.into_iter().collect();
        let policies = Self {
            stamp: Stamp::fresh(),
            digest: Digest::of(files.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()])),
            candidates: index(&parsed.set, &infos, &schema),
            set: parsed.set,
            level,
            infos,
            schema,
        };
        Ok((policies, faults))
    }

    /// What is wrong with the files by themselves, where there is no schema to validate them against.
    pub fn syntax(files: &[Arc<SourceText>]) -> Faults {
        Parsed::read(files).1.faults
    }

    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The digest of the files' names and texts, without the schema.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many references in a row the policies follow at most: what a slice has to hold.
    pub fn level(&self) -> u32 {
        self.level
    }

    pub fn len(&self) -> usize {
        self.infos.len()
    }

    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }

    /// The whole set, as Cedar knows it.
    pub fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The policies that a request of this environment can match.
    pub fn candidates(&self, environment: Environment) -> Option<&Candidates> {
        self.candidates.get(&environment)
    }

    pub fn info(&self, id: &PolicyId) -> Option<&Arc<PolicyInfo>> {
        self.infos.get(id)
    }

    /// All policies, by id.
    pub fn infos(&self) -> Vec<&Arc<PolicyInfo>> {
        let mut infos: Vec<_> = self.infos.values().collect();
        infos.sort_by(|a, b| a.id.cmp(&b.id));
        infos
    }
}

#[derive(Default)]
struct Parsed {
    set: PolicySet,
    infos: BTreeMap<PolicyId, Arc<PolicyInfo>>,
    faults: Faults,
}

impl Parsed {
    /// The files in their order, and what they hold. A file that does not parse is left out, so that
    /// what is wrong with the others shows as well.
    fn read(files: &[Arc<SourceText>]) -> (Vec<Arc<SourceText>>, Self) {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut parsed = Self::default();
        for file in &files {
            parsed.file(file);
        }
        (files, parsed)
    }

    fn file(&mut self, file: &Arc<SourceText>) {
        let too_deep = depth::of_policies(file);
        if !too_deep.is_empty() {
            return self.faults.extend(too_deep);
        }
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => return self.faults.extend(findings::errors(&errors, file)),
        };
        for template in set.templates() {
            let place =
                template.as_ref().loc().map(|loc| Place::new(file, loc.start(), loc.end() - loc.start()));
            self.faults.push(
                Fault::error(
                    "a template (a policy with `?principal` or `?resource`) has no effect by itself",
                )
                .help("write a policy for each entity, or test membership with `in`")
                .at(place),
            );
        }
        let mut policies: Vec<(Option<Place>, &Policy)> =
            set.policies().map(|policy| (place_of(policy, file), policy)).collect();
        policies.sort_by_key(|(place, _)| place.as_ref().map(|place| place.offset));
        for (n, (place, policy)) in policies.into_iter().enumerate() {
            self.policy(file, n + 1, place, policy);
        }
    }

    fn policy(&mut self, file: &SourceText, nth: usize, place: Option<Place>, policy: &Policy) {
        let id = policy.annotation("id").filter(|id| !id.is_empty()).map(SmolStr::new);
        if id.is_none() {
            let fault = Fault::warning(format!("policy {nth} of this file has no `@id`"));
            self.faults
                .push(fault.help("give it one, so that answers and logs can name it").at(place.clone()));
        }
        let id = id.unwrap_or_else(|| format_smolstr!("{}#{nth}", file.name));
        let info = PolicyInfo {
            reason: policy.annotation("reason").filter(|reason| !reason.is_empty()).map(SmolStr::new),
            forbids: policy.effect() == Effect::Forbid,
            id,
            place,
        };
        let policy_id = PolicyId::new(&info.id);
        if let Some(first) = self.infos.get(&policy_id) {
            let at = first.place.as_ref().map_or_else(String::new, |place| {
                format!(", first at {}:{}", place.source.path, place.line_column().0)
            });
            let message = format!("the `@id` `{}` is used twice{at}", info.id);
            return self.faults.push(Fault::error(message).at(info.place));
        }
        // The id is new, which is all that adding can fail on.
        if self.set.add(policy.new_id(policy_id.clone())).is_ok() {
            self.infos.insert(policy_id, Arc::new(info));
        }
    }

    /// Validates strictly, and finds the lowest level at which the policies validate.
    fn validate(&mut self, schema: &Schema) -> u32 {
        let validator = Validator::new(schema.cedar().clone());
        let at_level = |level| validator.validate_with_level(&self.set, ValidationMode::Strict, level);
        let result = at_level(DEEPEST_LEVEL);
        let level = (0..DEEPEST_LEVEL)
            .find(|level| result.validation_passed() && at_level(*level).validation_passed());
        let errors =
            result.validation_errors().map(|error| self.finding(error, error.policy_id(), Severity::Error));
        let warnings = result
            .validation_warnings()
            .map(|warning| self.finding(warning, warning.policy_id(), Severity::Warning));
        let mut findings: Vec<Fault> = errors.chain(warnings).collect();
        // Cedar's order differs from run to run, and the same faults have to look the same.
        findings.sort_by_cached_key(ToString::to_string);
        for finding in findings {
            self.faults.push(finding);
        }
        if self.infos.is_empty() && !self.faults.has_errors() {
            self.faults.push(Fault::warning("there is no policy, so every request is denied"));
        }
        level.unwrap_or(DEEPEST_LEVEL)
    }

    /// A validator's finding, placed in the file of its policy.
    fn finding(&self, diagnostic: &dyn miette::Diagnostic, id: &PolicyId, severity: Severity) -> Fault {
        let place = self.infos.get(id).and_then(|info| info.place.clone());
        let found = match &place {
            Some(place) => findings::fault(diagnostic, &place.source),
            None => Fault::error(diagnostic.to_string()),
        };
        Fault { severity, place: found.place.clone().or(place), ..found }
    }
}

fn place_of(policy: &Policy, file: &Arc<SourceText>) -> Option<Place> {
    let loc = policy.as_ref().loc()?;
    Some(Place::new(file, loc.start(), loc.end() - loc.start()))
}

/// For every environment of the schema, the policies whose scope can match it. A scope that is not
/// known to rule an environment out keeps the policy in, so the index can only be too generous.
fn index(
    set: &PolicySet,
    infos: &HashMap<PolicyId, Arc<PolicyInfo>>,
    schema: &Schema,
) -> HashMap<Environment, Candidates> {
    let mut index: HashMap<Environment, Candidates> = HashMap::new();
    for (action, info) in schema.actions() {
        for principal in &info.principals {
            for resource in &info.resources {
                let environment = (action, *principal, *resource);
                let fits = set.policies().filter(|policy| scope_fits(policy, schema, info, environment));
                index.insert(environment, candidates(fits, infos));
            }
        }
    }
    index
}

fn candidates<'p>(
    policies: impl Iterator<Item = &'p Policy>,
    infos: &HashMap<PolicyId, Arc<PolicyInfo>>,
) -> Candidates {
    let mut candidates = Candidates::default();
    for policy in policies {
        if candidates.set.add(policy.clone()).is_ok() && policy.effect() == Effect::Permit {
            candidates.permits.extend(infos.get(policy.id()).cloned());
        }
    }
    candidates.permits.sort_by(|a, b| a.id.cmp(&b.id));
    candidates
}

fn scope_fits(
    policy: &Policy,
    schema: &Schema,
    action: &ActionInfo,
    (_, principal, resource): Environment,
) -> bool {
    let is_or_in_group = |uid: &EntityUid| action.entities.iter().any(|entity| entity.uid() == *uid);
    let action_fits = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == action.uid,
        ActionConstraint::In(uids) => uids.iter().any(is_or_in_group),
    };
    action_fits
        && Scope::of_principal(&policy.principal_constraint()).fits(principal, schema)
        && Scope::of_resource(&policy.resource_constraint()).fits(resource, schema)
}

/// What a scope says about the type of a principal or a resource.
enum Scope {
    Any,
    Is(EntityTypeName),
    In(EntityTypeName),
}

impl Scope {
    fn of_principal(constraint: &PrincipalConstraint) -> Self {
        match constraint {
            PrincipalConstraint::Any => Self::Any,
            PrincipalConstraint::Eq(uid) => Self::Is(uid.type_name().clone()),
            PrincipalConstraint::In(uid) => Self::In(uid.type_name().clone()),
            PrincipalConstraint::Is(name) | PrincipalConstraint::IsIn(name, _) => Self::Is(name.clone()),
        }
    }

    fn of_resource(constraint: &ResourceConstraint) -> Self {
        match constraint {
            ResourceConstraint::Any => Self::Any,
            ResourceConstraint::Eq(uid) => Self::Is(uid.type_name().clone()),
            ResourceConstraint::In(uid) => Self::In(uid.type_name().clone()),
            ResourceConstraint::Is(name) | ResourceConstraint::IsIn(name, _) => Self::Is(name.clone()),
        }
    }

    fn fits(&self, kind: Kind, schema: &Schema) -> bool {
        match self {
            Self::Any => true,
            Self::Is(name) => schema.kind(kind).type_name == *name,
            Self::In(name) => schema
                .kind_of_full_name(&name.to_string())
                .is_none_or(|ancestor| schema.can_be_in(kind, ancestor)),
        }
    }
}
