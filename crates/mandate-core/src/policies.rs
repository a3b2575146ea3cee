//! Policies: parsed, validated against the schema, and indexed by what a request can match.

mod index;
mod prepare;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationError, ValidationMode, Validator};
use cedar_policy_core::ast::Expr;
pub use index::{Candidate, Candidates, Environment, Part};
use smol_str::{SmolStr, format_smolstr};

use super::clauses::{self, Clause};
use super::depth;
use super::digest::Digest;
use super::fault::{Fault, Faults, Place, Severity, SourceText};
use super::findings;
use super::schema::Schema;
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

/// A validated set of policies with the schema that it was validated against.
pub struct Policies {
    stamp: Stamp,
    digest: Digest,
    schema: Arc<Schema>,
    set: PolicySet,
    infos: HashMap<PolicyId, Arc<PolicyInfo>>,
    candidates: HashMap<Environment, Candidates, foldhash::fast::RandomState>,
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
        let levels = parsed.validate(&schema);
        let faults = parsed.faults.into_result()?;
        let infos: HashMap<_, _> = parsed.infos.into_iter().collect();
        let candidates = parsed.set.policies().filter_map(|policy| {
            let (info, level) = (infos.get(policy.id())?, levels.get(policy.id())?);
            Some((policy, Arc::clone(info), *level))
        });
        let policies = Self {
            stamp: Stamp::fresh(),
            digest: Digest::of(files.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()])),
            candidates: index::index(candidates, &schema),
            set: parsed.set,
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

    /// The policies that requests of this environment can match; `None` if there is no such request.
    pub fn candidates(&self, environment: Environment) -> Option<&Candidates> {
        self.candidates.get(&environment)
    }

    pub fn info(&self, id: &PolicyId) -> Option<&Arc<PolicyInfo>> {
        self.infos.get(id)
    }

    /// A policy's conditions as they are written, with their places; `None` if it has none.
    pub fn conditions(&self, policy: &PolicyInfo) -> Option<&Expr> {
        self.set.policy(&PolicyId::new(&policy.id))?.as_ref().non_scope_constraints()
    }

    /// The clauses of a policy's conditions, in the order of the text.
    pub fn clauses(&self, policy: &PolicyInfo) -> Vec<Clause> {
        let found = self.conditions(policy).zip(policy.place.as_ref());
        found.map_or_else(Vec::new, |(conditions, place)| clauses::clauses(conditions, place))
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

    /// Validates strictly, and finds the lowest level at which each policy validates. Not below 1:
    /// principal and resource are always read, because they have to exist.
    fn validate(&mut self, schema: &Schema) -> HashMap<PolicyId, u32> {
        let validator = Validator::new(schema.cedar().clone());
        let mode = ValidationMode::Strict;
        let result = validator.validate_with_level(&self.set, mode, DEEPEST_LEVEL);
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
        let mut levels = HashMap::new();
        let mut open = if result.validation_passed() { self.set.clone() } else { PolicySet::new() };
        for level in 1..=DEEPEST_LEVEL {
            let result = validator.validate_with_level(&open, mode, level);
            let deeper: HashSet<&PolicyId> =
                result.validation_errors().map(ValidationError::policy_id).collect();
            let (deeper, found): (Vec<_>, Vec<_>) =
                open.policies().cloned().partition(|policy| deeper.contains(policy.id()));
            levels.extend(found.iter().map(|policy| (policy.id().clone(), level)));
            // They come from a set, so their ids differ, which is all that can go wrong.
            open = PolicySet::from_policies(deeper).unwrap_or_default();
        }
        levels
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
