//! Reads and validates policy files. What is wrong becomes diagnostics; `set.rs` makes a set only if none is
//! an error.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationError, ValidationMode, Validator};
use smol_str::{SmolStr, format_smolstr};

use super::info::PolicyInfo;
use crate::cedar_diagnostics;
use crate::diagnostics::{Diagnostic, Diagnostics, Severity, SourceSpan, SourceText};
use crate::reason::Reason;
use crate::schema::Schema;
use crate::text_limits;

/// The longest chain of references that policies may follow: `principal.active` is 1, and
/// `resource.customer in principal` is 2. It bounds what a decision has to gather.
pub const MAX_LEVEL: u32 = 4;

/// What the files hold, as far as it could be read.
#[derive(Default)]
pub struct ParsedFiles {
    pub set: PolicySet,
    pub infos: BTreeMap<PolicyId, Arc<PolicyInfo>>,
    /// What is wrong with the files.
    diagnostics: Diagnostics,
    /// What was found in each policy.
    findings: Vec<(PolicyId, Diagnostic)>,
}

impl ParsedFiles {
    /// The files sorted by name, and what they hold. A file that does not parse is left out, so that the
    /// errors of the others are reported too.
    pub fn read(files: &[Arc<SourceText>]) -> (Vec<Arc<SourceText>>, Self) {
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
        let written_id = policy.annotation("id").filter(|id| !id.is_empty()).map(SmolStr::new);
        let has_id = written_id.is_some();
        let id = written_id.unwrap_or_else(|| format_smolstr!("{}#{nth}", file.name));
        let info = PolicyInfo {
            reason: Reason::new(policy.annotation("reason"), policy.annotation("reason_de")),
            effect: policy.effect(),
            emergency: policy.annotation("emergency").map(SmolStr::new),
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
        if !has_id {
            let warning = Diagnostic::warning(format!("policy {nth} of this file has no `@id`"))
                .help("give it one, so that answers and logs can name it");
            self.findings.push((policy_id.clone(), warning.at(info.span.clone())));
        }
        let emergency = info.check_emergency();
        self.findings.extend(emergency.map(|found| (policy_id.clone(), found)));
        // Adding fails only if the id is taken, and it is not.
        if self.set.add(policy.new_id(policy_id.clone())).is_ok() {
            self.infos.insert(policy_id, Arc::new(info));
        }
    }

    /// Validates strictly, and finds the lowest level at which each policy validates. It is at least 1:
    /// principal and resource are always read, because they must exist.
    pub fn validate(&mut self, schema: &Schema) -> HashMap<PolicyId, u32> {
        let validator = Validator::new(schema.cedar().clone());
        let mode = ValidationMode::Strict;
        let result = validator.validate_with_level(&self.set, mode, MAX_LEVEL);
        let errors = result
            .validation_errors()
            .map(|error| self.validation_finding(error, error.policy_id(), Severity::Error));
        let warnings = result
            .validation_warnings()
            .map(|warning| self.validation_finding(warning, warning.policy_id(), Severity::Warning));
        let mut findings: Vec<_> = errors.chain(warnings).collect();
        // Cedar's order differs from run to run; the same files must give the same diagnostics.
        findings.sort_by_cached_key(|(_, finding)| {
            let place = finding.span.as_ref().map(|span| (span.source.path.clone(), span.offset));
            (place, finding.message.clone())
        });
        self.findings.extend(findings);
        if self.infos.is_empty() && !self.diagnostics.has_errors() {
            self.diagnostics.push(Diagnostic::warning("there are no policies, so every request is denied"));
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
            // This fails only if two ids are equal, and these come from one set.
            open = PolicySet::from_policies(deeper).unwrap_or_default();
        }
        levels
    }

    /// Everything that was found. Warnings about a policy with an error are left out: most likely they follow
    /// from the error.
    pub fn diagnostics(&self) -> Diagnostics {
        let is_error = |finding: &Diagnostic| finding.severity == Severity::Error;
        let errors = self.findings.iter().filter(|(_, finding)| is_error(finding));
        let broken: HashSet<&PolicyId> = errors.map(|(id, _)| id).collect();
        let mut diagnostics = self.diagnostics.clone();
        for (id, finding) in &self.findings {
            if is_error(finding) || !broken.contains(id) {
                diagnostics.push(finding.clone());
            }
        }
        diagnostics
    }

    /// A finding of the validator, with the span of its policy.
    fn validation_finding(
        &self,
        diagnostic: &dyn miette::Diagnostic,
        id: &PolicyId,
        severity: Severity,
    ) -> (PolicyId, Diagnostic) {
        let span = self.infos.get(id).and_then(|info| info.span.clone());
        let found = match &span {
            Some(span) => cedar_diagnostics::error(diagnostic, &span.source),
            None => Diagnostic::error(diagnostic.to_string()),
        };
        (id.clone(), Diagnostic { severity, span: found.span.clone().or(span), ..found })
    }
}

fn span_of(policy: &Policy, file: &Arc<SourceText>) -> Option<SourceSpan> {
    let loc = policy.as_ref().loc()?;
    Some(SourceSpan::new(file, loc.start(), loc.end() - loc.start()))
}
