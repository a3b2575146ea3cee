//! `diff` of git revisions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{WIDER, check_refused, text};
use crate::reload::CONSENT_EDGE;
use crate::support::{Content, has_solver, pack, repository_path};

/// Runs git in a repository, without the configuration of the user and the system.
fn git(folder: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
}

fn commit(content: &Content, message: &str) {
    let folder = content.path("");
    git(&folder, &["add", "--all"]);
    let author = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
    git(&folder, &[&author[..], &["commit", "--quiet", "-m", message]].concat());
}

/// A repository with the pack. The folder of policies also has files that are not policies.
fn repository() -> Content {
    let content = Content::of_pack();
    git(&content.path(""), &["init", "--quiet"]);
    fs::write(content.path("policies/logo.png"), [0xff, 0xfe]).unwrap();
    content.write("policies/.draft.cedar", "permt ();");
    commit(&content, "one");
    content
}

fn compare(content: &Content, args: &[&str]) -> Output {
    crate::support::mandate()
        .arg("diff")
        .arg("--policies")
        .arg(content.policies())
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn revisions_and_folders_can_be_compared() {
    if !has_solver() {
        return;
    }
    let content = repository();
    let check = |args: &[&str], summary: &str| {
        let output = compare(&content, args);
        let shown = text(&output.stdout);
        assert!(output.status.success() && shown.ends_with(summary), "{args:?}: {output:?}");
    };
    let all = pack::environments();
    let (same, different) = (format!("{all} the same, 0 not\n"), format!("{} the same, 4 not\n", all - 4));
    let (same, different) = (same.as_str(), different.as_str());
    check(&["--against", "HEAD"], same);
    let (file, from, to) = WIDER[0];
    content.edit(&format!("policies/{file}"), from, to);
    check(&["--against", "HEAD"], different);
    check(&["HEAD"], different);
    commit(&content, "two");
    check(&["--against", "HEAD"], same);
    check(&["HEAD~1", "HEAD"], different);
    check(&["HEAD", "HEAD~1"], different);
    check(&["HEAD~1", content.policies().to_str().unwrap()], different);
    check(&[repository_path("policies").to_str().unwrap(), "HEAD"], different);
}

#[test]
fn revisions_of_the_entity_folder_can_be_compared() {
    let content = repository();
    let compare = |args: &[&str]| {
        let mut command = crate::support::mandate();
        command.args(["diff", "--entities", "--policies"]).arg(content.policies());
        let output = command.args(args).env("MANDATE_ENTITIES", content.entities()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    };
    let nothing = "0 entities differ: 0 gained, 0 lost\n";
    content.write("entities/.draft.json", "[{]");
    commit(&content, "draft");
    assert_eq!(compare(&["--against", "HEAD"]), nothing);
    content.edit("entities/customers.json", CONSENT_EDGE, "");
    let lost = compare(&["--against", "HEAD"]);
    assert!(lost.contains("\"fabrikam\" loses registerDevice"), "{lost}");
    assert_eq!(compare(&["HEAD", content.entities().to_str().unwrap()]), lost);
    commit(&content, "revoked");
    assert_eq!(compare(&["--against", "HEAD"]), nothing);
    assert_eq!(compare(&["HEAD~1", "HEAD"]), lost);
    assert!(compare(&["HEAD", "HEAD~1"]).contains("\"fabrikam\" gains registerDevice"));
}

#[test]
fn unknown_and_broken_revisions_are_errors() {
    let content = repository();
    check_refused(
        &compare(&content, &["--against", "nobody"]),
        &["`nobody` is neither a folder nor a revision"],
    );
    check_refused(&compare(&content, &["nobody"]), &["`nobody` is neither a folder nor a revision"]);
    check_refused(&compare(&content, &["--against=--help"]), &["`--help` is not a revision"]);
    check_refused(&compare(&content, &["--", "-x"]), &["`-x` is not a revision"]);
    check_refused(
        &compare(&content, &["HEAD:policies"]),
        &["`HEAD:policies` is neither a folder nor a revision"],
    );
    check_refused(&compare(&content, &["--against", "HEAD", "HEAD"]), &["cannot be used with"]);

    content.edit("policies/registration.cedar", "permit (", "permt (");
    commit(&content, "broken");
    content.edit("policies/registration.cedar", "permt (", "permit (");
    check_refused(&compare(&content, &["--against", "HEAD"]), &["HEAD:", "policies/registration.cedar:"]);
}

#[test]
fn what_keeps_git_from_reading_a_revision_is_said_in_plain_words() {
    let (outside, inside) = (Content::of_pack(), repository());
    let check = |content: &Content, environment: &[(&str, &str)], message: &str, help: &str| {
        let mut command = crate::support::mandate();
        command.current_dir(content.path("")).args(["diff", "--against", "HEAD"]);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        check_refused(&output, &[message, help, "1 error, 0 warnings"]);
        let shown = text(&output.stderr);
        assert!(!shown.contains("fatal") && !shown.contains("rev-parse"), "{shown}");
    };
    check(
        &outside,
        &[("LC_ALL", "de_DE.UTF-8")],
        "`policies` is not in a git repository, so it has no revisions",
        "run this in a clone that has its `.git`",
    );
    check(
        &inside,
        &[("PATH", "/nowhere")],
        "git is not installed, so no revision can be read",
        "install git, or compare two folders: `mandate diff OLD NEW`",
    );
    let other_owner = [
        ("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
    ];
    check(
        &inside,
        &other_owner,
        "git does not read the repository of `policies`, because it belongs to another user",
        "git config --global --add safe.directory FOLDER",
    );
    check(
        &inside,
        &[("MANDATE_POLICIES", "nothing")],
        "× there is no folder `nothing`",
        "name the policy folder with `--policies`",
    );
    let mut entities = crate::support::mandate();
    entities.args(["diff", "--entities", "--against", "HEAD", "--policies"]).arg(inside.policies());
    let output = entities.current_dir(inside.path("")).env("MANDATE_ENTITIES", "nothing").output().unwrap();
    let help = "name the entity folder with `MANDATE_ENTITIES`, or with `entities` in the configuration file";
    check_refused(&output, &["× there is no folder `nothing`", help]);
    fs::write(inside.path(".git/HEAD"), "ref: refs/heads/none\n").unwrap();
    check(&inside, &[], "`HEAD` is neither a folder nor a revision that git knows", "a shallow clone");
}
