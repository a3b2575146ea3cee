//! A policy folder beyond a limit: every command refuses it with the same error, and a running sidecar keeps
//! what it has.

use std::fs::{self, File};
use std::process::Output;

use crate::reload::{fabrikam_registers, reload_outcome};
use crate::support::{Content, mandate, pack, until};

/// Checks that a command failed with this message, and returns all that it printed.
#[track_caller]
fn refused(output: &Output, says: &str) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // Diagnostics are wrapped for the terminal.
    let words = text.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(words.contains(says), "`{says}` is not in: {text}");
    words
}

#[test]
fn every_command_refuses_too_many_policies_before_it_parses_them() {
    let content = Content::of_pack();
    // Validation would find this.
    content.write("policies/wrong.cedar", "permit (principal, action, resource) when { principal.wrong };");
    let folder = content.policies().display().to_string();
    let all = pack::policies() + 1;
    let says = format!("`{folder}` has {all} policies, and `max-policies` allows 10");
    for verb in ["check", "test", "serve", "prove", "lint"] {
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let ports = if verb == "serve" { &ports[..] } else { &[] };
        let output = content.command(verb).args(["--max-policies", "10"]).args(ports).output().unwrap();
        let text = refused(&output, &says);
        assert!(text.contains("or raise `max-policies`") && !text.contains("principal.wrong"), "{text}");
    }
}

#[test]
fn a_folder_is_measured_before_it_is_read() {
    let content = Content::of_pack();
    let folder = content.policies().display().to_string();
    // A sparse file: to read it would take all memory.
    let terabyte = 1 << 40;
    File::create(content.path("policies/large.cedar")).unwrap().set_len(terabyte).unwrap();
    let output = content.mandate("check", &["--max-policy-files", "3"]);
    let files = count_files(&content);
    refused(&output, &format!("`{folder}` has {files} files, and `max-policy-files` allows 3"));
    refused(&output, "bytes, and `max-policy-bytes` allows 67108864");
    refused(&output, &format!("the largest is `large.cedar` with {terabyte} bytes"));
}

fn count_files(content: &Content) -> usize {
    let folders = [content.policies(), content.path("policies/guardrails")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    files.filter(|file| file.as_ref().unwrap().path().is_file()).count()
}

#[test]
fn limits_stand_in_the_configuration_file() {
    let content = Content::of_pack();
    content.write("mandate.toml", "[limits]\nmax-policies = 7\nmax-policy-bytes = 8\n");
    let mut command = mandate();
    command.arg("check").arg("--policies").arg(content.policies());
    command.arg("--config").arg(content.path("mandate.toml"));
    refused(&command.output().unwrap(), "`max-policy-bytes` allows 8");
    command.args(["--max-policy-bytes", "1000000"]);
    refused(&command.output().unwrap(), "`max-policies` allows 7");
}

#[test]
fn an_edit_beyond_a_limit_is_refused_and_the_last_good_content_stays() {
    let content = Content::of_pack();
    let all = pack::policies();
    let limits = ["--max-policies", &all.to_string(), "--max-policy-bytes", "100000"];
    let sidecar = content.serve_with(&[&["--poll", "1h"], &limits[..]].concat());
    let errors = || sidecar.status()["policies"]["last_reload"]["errors"].to_string();
    let more = "@id(\"more\") forbid (principal, action, resource);";
    content.replace_file("policies/more.cedar", more);
    let refusal = format!("has {} policies, and `max-policies` allows {all}", all + 1);
    until("the policy is refused", || errors().contains(&refusal));
    assert!(sidecar.permits(&fabrikam_registers()));
    content.replace_file("policies/more.cedar", &"// a long comment\n".repeat(10_000));
    until("the bytes are refused", || errors().contains("and `max-policy-bytes` allows 100000"));
    assert!(sidecar.permits(&fabrikam_registers()));
    content.replace_file("policies/more.cedar", "// `;` in a comment, and no policy;\n");
    until("the folder is accepted", || reload_outcome(&sidecar, "policies") == "accepted");
    assert_eq!(sidecar.status()["policies"]["count"], all);
}
