//! A validated set of policies with its index. It is a value that never changes: other files make other
//! policies. `parse.rs` reads the files, `index.rs` finds the policies for a request, `decide.rs` evaluates
//! them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{PolicyId, PolicySet};
use cedar_policy_core::ast::Expr;

use super::index::{self, CandidatePolicies, EnvironmentKey};
use super::info::PolicyInfo;
use super::parse::ParsedFiles;
use crate::clauses::{self, Clause};
use crate::diagnostics::{Diagnostics, SourceText};
use crate::digest::Digest;
use crate::schema::Schema;
use crate::version::Version;

/// A validated set of policies with the schema that it was validated against.
///
/// ```
/// use std::sync::Arc;
///
/// use mandate_core::diagnostics::SourceText;
/// use mandate_core::policies::{Effect, Policies};
/// use mandate_core::schema::Schema;
///
/// let schema = "entity User; entity Photo; action view appliesTo { principal: User, resource: Photo };";
/// let schema = Arc::new(Schema::parse(&SourceText::new("schema.cedarschema", schema))?.0);
/// let file = |text| [SourceText::new("photos.cedar", text)];
///
/// let text = r#"@id("everybody-views") permit (principal, action == Action::"view", resource);"#;
/// let (policies, warnings) = Policies::parse(&file(text), Arc::clone(&schema))?;
/// assert!(warnings.is_empty());
/// assert_eq!(policies.infos()[0].id, "everybody-views");
/// assert_eq!(policies.infos()[0].effect, Effect::Permit);
///
/// let text = r#"permit (principal, action == Action::"delete", resource);"#;
/// let errors = Policies::parse(&file(text), schema).expect_err("the schema has no `delete`");
/// assert!(errors.to_string().contains("delete"));
/// # Ok::<(), mandate_core::diagnostics::Diagnostics>(())
/// ```
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
        let diagnostics = parsed.diagnostics().into_result()?;
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

    /// The errors and warnings of the files alone, without a schema to validate them against.
    pub fn check_syntax(files: &[Arc<SourceText>]) -> Diagnostics {
        ParsedFiles::read(files).1.diagnostics()
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

    /// The policies that requests of this environment can match; `None` if the schema has no such
    /// environment.
    pub fn candidates(&self, environment: EnvironmentKey) -> Option<&CandidatePolicies> {
        self.candidates.get(&environment)
    }

    pub fn info(&self, id: &PolicyId) -> Option<&Arc<PolicyInfo>> {
        self.infos.get(id)
    }

    /// The forbids with an `@emergency`, by id.
    pub fn emergencies(&self) -> Vec<&Arc<PolicyInfo>> {
        let mut infos: Vec<_> = self.infos.values().filter(|info| info.emergency.is_some()).collect();
        infos.sort_by(|a, b| a.id.cmp(&b.id));
        infos
    }

    /// These policies without those that are emergencies. The digest stays that of the files.
    #[must_use]
    pub fn without_emergencies(self: &Arc<Self>) -> Arc<Self> {
        if self.infos.values().all(|info| info.emergency.is_none()) {
            return Arc::clone(self);
        }
        let mut policies = Self {
            version: Version::new_unique(),
            digest: self.digest,
            schema: Arc::clone(&self.schema),
            set: self.set.clone(),
            infos: self.infos.clone(),
            candidates: HashMap::default(),
        };
        for (id, _) in policies.infos.extract_if(|_, info| info.emergency.is_some()) {
            // This fails only if the set has no such policy.
            let _ = policies.set.remove_static(id);
        }
        let compiled = self.candidates.values().flat_map(CandidatePolicies::all);
        let levels: HashMap<_, _> = compiled.map(|policy| (&policy.info.id, policy.level)).collect();
        let kept = policies.set.policies().filter_map(|policy| {
            let info = policies.infos.get(policy.id())?;
            Some((policy, Arc::clone(info), *levels.get(&info.id)?))
        });
        policies.candidates = index::index(kept, &self.schema);
        Arc::new(policies)
    }

    /// The conditions of a policy as written, with source locations; `None` if it has none.
    pub fn conditions(&self, policy: &PolicyInfo) -> Option<&Expr> {
        self.set.policy(&PolicyId::new(&policy.id))?.as_ref().non_scope_constraints()
    }

    /// The clauses of a policy's conditions, in the order of the text.
    pub fn clauses(&self, policy: &PolicyInfo) -> Vec<Clause> {
        let found = self.conditions(policy).zip(policy.span.as_ref());
        found.map_or_else(Vec::new, |(conditions, span)| clauses::clauses(conditions, span))
    }

    /// All policies, by id.
    pub fn infos(&self) -> Vec<&Arc<PolicyInfo>> {
        let mut infos: Vec<_> = self.infos.values().collect();
        infos.sort_by(|a, b| a.id.cmp(&b.id));
        infos
    }
}
