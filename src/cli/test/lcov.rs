//! Coverage in LCOV format, for editors and coverage services: policies are functions, clauses are lines and
//! branches. `coverage.rs` shows it to people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mandate_analysis::coverage::{ClauseCoverage, Coverage, PolicyCoverage};

/// The coverage of all policies. Files have the paths that diagnostics show.
pub fn lcov(coverage: &Coverage) -> String {
    let mut files: BTreeMap<&str, Vec<&PolicyCoverage>> = BTreeMap::new();
    for policy in coverage.policies() {
        files.entry(&policy.span.source.path).or_default().push(policy);
    }
    files.into_iter().fold("TN:\n".to_owned(), |text, (path, policies)| text + &record(path, &policies))
}

fn record(path: &str, policies: &[&PolicyCoverage]) -> String {
    let mut text = format!("SF:{path}\n");
    for policy in policies {
        let _ = writeln!(text, "FN:{},{}", policy.span.line_column().0, policy.info.id);
    }
    for policy in policies {
        let _ = writeln!(text, "FNDA:{},{}", policy.counts.yes, policy.info.id);
    }
    found_and_hit(&mut text, "FN", policies.iter().map(|policy| policy.counts.yes));
    let clauses = || policies.iter().flat_map(|policy| &policy.clauses);
    for (block, clause) in clauses().enumerate() {
        let line = clause.clause.span.line_column().0;
        for (branch, count) in branches(clause) {
            let taken = if clause.counts.total() == 0 { "-".to_owned() } else { count.to_string() };
            let _ = writeln!(text, "BRDA:{line},{block},{branch},{taken}");
        }
    }
    found_and_hit(&mut text, "BR", clauses().flat_map(branches).map(|(_, count)| count));
    let lines = lines(policies);
    for (line, count) in &lines {
        let _ = writeln!(text, "DA:{line},{count}");
    }
    found_and_hit(&mut text, "L", lines.into_values());
    text + "end_of_record\n"
}

/// Branch 0 counts how often the clause was true, branch 1 how often it was false; a literal has only one of
/// them.
fn branches(clause: &ClauseCoverage) -> impl Iterator<Item = (usize, u64)> {
    let can_be = [clause.clause.possible.includes_true, clause.clause.possible.includes_false];
    let counts = [clause.counts.yes, clause.counts.no].into_iter().enumerate();
    counts.zip(can_be).filter(|(_, can_be)| *can_be).map(|(branch, _)| branch)
}

/// For the first line of each policy, how many requests its scope matched; for the first line of each clause,
/// how often it was evaluated. If several begin on one line, the highest count.
fn lines(policies: &[&PolicyCoverage]) -> BTreeMap<usize, u64> {
    let mut lines = BTreeMap::new();
    let mut count = |line, n: u64| {
        let most: &mut u64 = lines.entry(line).or_default();
        *most = n.max(*most);
    };
    for policy in policies {
        count(policy.span.line_column().0, policy.scope_matches);
        for clause in &policy.clauses {
            count(clause.clause.span.line_column().0, clause.counts.total());
        }
    }
    lines
}

fn found_and_hit(text: &mut String, what: &str, counts: impl Iterator<Item = u64>) {
    let (found, hit) = counts.fold((0, 0), |(found, hit), count| (found + 1, hit + usize::from(count > 0)));
    let _ = write!(text, "{what}F:{found}\n{what}H:{hit}\n");
}
