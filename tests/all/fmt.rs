//! `fmt`: policy files are written in standard form, and no policy and no comment is lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

use crate::support::Content;

/// Runs `mandate fmt` on a file with this text. Returns the exit code, the output, and the text afterwards.
fn run(text: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let content = Content::of_pack();
    content.write("a.cedar", text);
    let path = content.path("a.cedar");
    let output = content.mandate("fmt", &[args, &[path.to_str().unwrap()]].concat());
    (output.status.code(), printed(&output), content.read("a.cedar"))
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Checks that the text is formatted like this, and that `--check` then accepts it.
#[track_caller]
fn check(text: &str, formatted: &str) {
    let (code, printed, after) = run(text, &[]);
    assert_eq!((code, after.as_str()), (Some(0), formatted), "{printed}");
    let (code, printed, after) = run(formatted, &["--check"]);
    assert_eq!((code, after.as_str()), (Some(0), formatted), "{printed}");
}

/// Checks that the file is refused with this message and does not change.
#[track_caller]
fn check_refused(text: &str, message: &str) {
    let (code, printed, after) = run(text, &[]);
    assert_eq!((code, after.as_str()), (Some(1), text), "{printed}");
    assert!(printed.contains(message), "`{message}` is not in:\n{printed}");
}

#[test]
fn policies_are_written_in_standard_form() {
    check("permit(principal,action,resource);", "permit (principal, action, resource);\n");
    check(
        "@id(\"a\")permit(principal,action,resource)when{principal.a&&!(resource.b)}unless{1<2};",
        "@id(\"a\")\npermit (principal, action, resource)\nwhen { principal.a && !(resource.b) }\nunless { 1 < 2 };\n",
    );
    check("", "");
    check("// no policy yet\n\n\n", "// no policy yet\n\n\n");
}

#[test]
fn comments_stay_where_they_are() {
    const POLICY: &str = "permit (principal, action, resource);\n";
    check(&format!("// of the file\n\n{POLICY}"), &format!("// of the file\n\n{POLICY}"));
    check(&format!("// of the file\r\n\r\n\r\n{POLICY}"), &format!("// of the file\n\n{POLICY}"));
    check(
        &format!("// of the file\n\n// and more  \n\n\n// of the policy\n{POLICY}"),
        &format!("// of the file\n\n// and more\n\n// of the policy\n{POLICY}"),
    );
    check(&format!("\n\n// of the policy\n{POLICY}"), &format!("// of the policy\n{POLICY}"));
    check(&format!("{POLICY}// last"), &format!("{POLICY}// last\n"));
    check(
        "permit(principal, // who\naction,resource) // then\nwhen{ // if\nprincipal.a && // and\nprincipal.b};",
        "permit (principal, // who\n  action, resource) // then\nwhen\n{ // if\n  principal.a && // and\n  principal.b\n};\n",
    );
    check(
        "@reason(\"see https://example.com // there\") permit (principal,action,resource);",
        "@reason(\"see https://example.com // there\")\npermit (principal, action, resource);\n",
    );
}

#[test]
fn a_file_that_cannot_be_formatted_is_refused() {
    check_refused("permit (principal, action", "a.cedar:1:");
    check_refused("permt (principal, action, resource);", "a.cedar:1:1");
    check_refused(
        &format!("permit (principal, action, resource) when {{ {} }};", "(".repeat(60)),
        "nested more than 48 deep",
    );
    // The formatter drops the comma, and the comment with it.
    check_refused(
        "permit (principal, action, resource) when { [1, 2, // two\n].contains(context.n) };",
        "this comment would be lost",
    );
}

#[test]
fn check_shows_the_difference_and_changes_nothing() {
    let text = "permit(principal, action, resource);\n";
    let (code, printed, after) = run(text, &["--check"]);
    assert_eq!((code, after.as_str()), (Some(1), text));
    for line in [
        "-permit(principal, action, resource);",
        "+permit (principal, action, resource);",
        "1 policy file: 1 not in standard form",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "`{line}` is not in:\n{printed}");
    }
}

#[test]
fn all_files_of_the_folder_are_formatted() {
    let content = Content::of_pack();
    let unformatted = "permit(principal,action,resource);";
    for inside in ["policies/deep/a.cedar", "policies/guardrails/b.cedar"] {
        fs::create_dir_all(content.path(inside).parent().unwrap()).unwrap();
        content.write(inside, unformatted);
    }
    content.write("policies/broken.cedar", "permt ();");
    fs::set_permissions(content.path("policies/deep/a.cedar"), fs::Permissions::from_mode(0o640)).unwrap();
    content.write("elsewhere", unformatted);
    symlink(content.path("elsewhere"), content.path("policies/link.cedar")).unwrap();
    let output = content.mandate("fmt", &[]);
    let printed = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("broken.cedar:1:1"), "{printed}");
    let formatted = "permit (principal, action, resource);\n";
    for inside in ["policies/deep/a.cedar", "policies/guardrails/b.cedar", "elsewhere"] {
        assert_eq!(content.read(inside), formatted, "{inside}: {printed}");
    }
    assert!(printed.contains("policies/deep/a.cedar\n"), "{printed}");
    assert_eq!(content.read("policies/broken.cedar"), "permt ();");
    let mode = fs::metadata(content.path("policies/deep/a.cedar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(fs::symlink_metadata(content.path("policies/link.cedar")).unwrap().is_symlink());
    let files = fs::read_dir(content.path("policies/deep")).unwrap().count();
    assert_eq!(files, 1, "the temporary file is gone");
}

#[test]
fn the_pack_is_in_standard_form() {
    let output = Content::of_pack().mandate("fmt", &["--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}
