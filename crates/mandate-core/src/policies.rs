//! Policies: parsed, validated against the schema, and indexed by what a request can match.

mod compile;
mod index;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

pub use cedar_policy::Effect;
use cedar_policy::{Policy, PolicyId, PolicySet, ValidationError, ValidationMode, Validator};
use cedar_policy_core::ast::Expr;
pub use index::{CandidatePolicies, CompiledPolicy, EnvironmentKey, ScopeConstraint};
use smol_str::{SmolStr, format_smolstr};

use super::cedar_diagnostics;
use super::diagnostics::{Diagnostic, Diagnostics, Severity, SourceSpan, SourceText};
use super::digest::Digest;
use super::schema::Schema;
use super::text_limits;
use super::trace::{self, Clause};
use super::version::Version;

/// How deep policies may follow references: `principal.active` is 1, `resource.customer in
/// principal` is 2. It bounds what a decision has to gather.
pub const MAX_LEVEL: u32 = 4;

/// What people know a policy by.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// The `@id`, or the file and the position in it where there is none.
    pub id: SmolStr,
    /// The `@reason`: a sentence that a gateway can show.
    pub reason: Option<SmolStr>,
    pub effect: Effect,
    pub span: Option<SourceSpan>,
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
    version: Version,
    digest: Digest,
    schema: Arc<Schema>,
    set: PolicySet,
    infos: HashMap<PolicyId, Arc<PolicyInfo>>,
    candidates: HashMap<EnvironmentKey, CandidatePolicies, foldhash::fast::RandomState>,
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
    pub fn parse(files: &[Arc<SourceText>], schema: Arc<Schema>) -> Result<(Self, Diagnostics), Diagnostics> {
        let (files, mut parsed) = ParsedFiles::read(files);
        let levels = parsed.validate(&schema);
        let diagnostics = parsed.diagnostics.into_result()?;
        let infos: HashMap<_, _> = parsed.infos.into_iter().collect();
        let candidates = parsed.set.policies().filter_map(|policy| {
            let (info, level) = (infos.get(policy.id())?, levels.get(policy.id())?);
            Some((policy, Arc::clone(info), *level))
        });
        let policies = Self {
            version: Version::new_unique(),
            digest: Digest::of(files.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()])),
            candidates: index::index(candidates, &schema),
            set: parsed.set,
            infos,
            schema,
        };
        Ok((policies, diagnostics))
    }

    /// What is wrong with the files by themselves, where there is no schema to validate them against.
    pub fn check_syntax(files: &[Arc<SourceText>]) -> Diagnostics {
        ParsedFiles::read(files).1.diagnostics
    }

    pub fn version(&self) -> Version {
        self.version
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
    pub fn cedar_policies(&self) -> &PolicySet {
        &self.set
    }

    /// The policies that requests of this environment can match; `None` if there is no such request.
    pub fn candidates(&self, environment: EnvironmentKey) -> Option<&CandidatePolicies> {
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
        let found = self.conditions(policy).zip(policy.span.as_ref());
        found.map_or_else(Vec::new, |(conditions, span)| trace::clauses(conditions, span))
    }

    /// All policies, by id.
    pub fn infos(&self) -> Vec<&Arc<PolicyInfo>> {
        let mut infos: Vec<_> = self.infos.values().collect();
        infos.sort_by(|a, b| a.id.cmp(&b.id));
        infos
    }
}

#[derive(Default)]
struct ParsedFiles {
    set: PolicySet,
    infos: BTreeMap<PolicyId, Arc<PolicyInfo>>,
    diagnostics: Diagnostics,
}

impl ParsedFiles {
    /// The files in their order, and what they hold. A file that does not parse is left out, so that
    /// what is wrong with the others shows as well.
    fn read(files: &[Arc<SourceText>]) -> (Vec<Arc<SourceText>>, Self) {
        let mut files = files.to_vec();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut parsed = Self::default();
        for file in &files {
            parsed.add_file(file);
        }
        (files, parsed)
    }

    fn add_file(&mut self, file: &Arc<SourceText>) {
        let too_deep = text_limits::check_policies(file);
        if !too_deep.is_empty() {
            return self.diagnostics.extend(too_deep);
        }
        let set: PolicySet = match file.text.parse() {
            Ok(set) => set,
            Err(errors) => return self.diagnostics.extend(cedar_diagnostics::errors(&errors, file)),
        };
        for template in set.templates() {
            let span = template
                .as_ref()
                .loc()
                .map(|loc| SourceSpan::new(file, loc.start(), loc.end() - loc.start()));
            self.diagnostics.push(
                Diagnostic::error(
                    "a template (a policy with `?principal` or `?resource`) has no effect by itself",
                )
                .help("write a policy for each entity, or test membership with `in`")
                .at(span),
            );
        }
        let mut policies: Vec<(Option<SourceSpan>, &Policy)> =
            set.policies().map(|policy| (span_of(policy, file), policy)).collect();
        policies.sort_by_key(|(span, _)| span.as_ref().map(|span| span.offset));
        for (n, (span, policy)) in policies.into_iter().enumerate() {
            self.add_policy(file, n + 1, span, policy);
        }
    }

    fn add_policy(&mut self, file: &SourceText, nth: usize, span: Option<SourceSpan>, policy: &Policy) {
        let id = policy.annotation("id").filter(|id| !id.is_empty()).map(SmolStr::new);
        if id.is_none() {
            let diagnostic = Diagnostic::warning(format!("policy {nth} of this file has no `@id`"));
            self.diagnostics
                .push(diagnostic.help("give it one, so that answers and logs can name it").at(span.clone()));
        }
        let id = id.unwrap_or_else(|| format_smolstr!("{}#{nth}", file.name));
        let info = PolicyInfo {
            reason: policy.annotation("reason").filter(|reason| !reason.is_empty()).map(SmolStr::new),
            effect: policy.effect(),
            id,
            span,
        };
        let policy_id = PolicyId::new(&info.id);
        if let Some(first) = self.infos.get(&policy_id) {
            let at = first.span.as_ref().map_or_else(String::new, |span| {
                format!(", first at {}:{}", span.source.path, span.line_column().0)
            });
            let message = format!("the `@id` `{}` is used twice{at}", info.id);
            return self.diagnostics.push(Diagnostic::error(message).at(info.span));
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
        let result = validator.validate_with_level(&self.set, mode, MAX_LEVEL);
        let errors = result
            .validation_errors()
            .map(|error| self.validation_diagnostic(error, error.policy_id(), Severity::Error));
        let warnings = result
            .validation_warnings()
            .map(|warning| self.validation_diagnostic(warning, warning.policy_id(), Severity::Warning));
        let mut findings: Vec<Diagnostic> = errors.chain(warnings).collect();
        // Cedar's order differs from run to run, and the same diagnostics have to look the same.
        findings.sort_by_cached_key(ToString::to_string);
        for finding in findings {
            self.diagnostics.push(finding);
        }
        if self.infos.is_empty() && !self.diagnostics.has_errors() {
            self.diagnostics.push(Diagnostic::warning("there is no policy, so every request is denied"));
        }
        let mut levels = HashMap::new();
        let mut open = if result.validation_passed() { self.set.clone() } else { PolicySet::new() };
        for level in 1..=MAX_LEVEL {
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
    fn validation_diagnostic(
        &self,
        diagnostic: &dyn miette::Diagnostic,
        id: &PolicyId,
        severity: Severity,
    ) -> Diagnostic {
        let span = self.infos.get(id).and_then(|info| info.span.clone());
        let found = match &span {
            Some(span) => cedar_diagnostics::error(diagnostic, &span.source),
            None => Diagnostic::error(diagnostic.to_string()),
        };
        Diagnostic { severity, span: found.span.clone().or(span), ..found }
    }
}

fn span_of(policy: &Policy, file: &Arc<SourceText>) -> Option<SourceSpan> {
    let loc = policy.as_ref().loc()?;
    Some(SourceSpan::new(file, loc.start(), loc.end() - loc.start()))
}
