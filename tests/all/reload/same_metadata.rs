//! Edits that leave a file's metadata as they were: polling compares content.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CONSENT_EDGE, fabrikam_registers, reload_outcome, trey_registers, wait_for_decision};
use crate::support::{Content, Sidecar, until};

/// Writes through a memory map. Only the first write to a page changes the times of the file, and no write
/// causes an event.
const WRITER: &str = r#"
import json, mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
    memory[:] = memory[:]
    print("mapped", flush=True)
    for line in sys.stdin:
        before, after = (text.encode() for text in json.loads(line))
        assert before in memory[:]
        memory[:] = memory[:].replace(before, after)
        print("written", flush=True)
"#;

/// A file that another process has mapped.
struct MappedFile {
    process: Child,
    edits: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    mapped: Instant,
}

impl MappedFile {
    fn new(path: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", WRITER]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let edits = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(answers.next().unwrap().unwrap(), "mapped");
        Self { process, edits, answers, mapped: Instant::now() }
    }

    /// Replaces a text by another one. Spaces fill up the shorter one.
    fn edit(&mut self, before: &str, after: &str) {
        let length = before.len().max(after.len());
        let [before, after] = [before, after].map(|text| format!("{text:length$}"));
        writeln!(self.edits, "{}", json!([before, after])).unwrap();
        assert_eq!(self.answers.next().unwrap().unwrap(), "written");
    }

    /// Waits for a poll so long after the file was mapped that its metadata count as settled.
    fn wait_until_settled(&self, sidecar: &Sidecar, track: &str) {
        until("the file's metadata have settled", || {
            let age = Duration::from_millis(sidecar.status()[track]["look_age_ms"].as_u64().unwrap());
            self.mapped.elapsed().saturating_sub(age) > Duration::from_millis(200)
        });
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn policies_are_compared_at_every_poll() {
    let content = Content::of_pack();
    let mut file = MappedFile::new(&content.path("policies/registration.cedar"));
    let sidecar = content.serve_with(&["--poll", "100ms"]);
    assert!(sidecar.permits(&fabrikam_registers()));
    file.wait_until_settled(&sidecar, "policies");
    file.edit("principal is Autopilot::DirectBillPartner", "principal is Autopilot::Oem");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert!(sidecar.permits(&trey_registers()));
}

#[test]
fn entity_files_are_compared_in_turn() {
    let content = Content::of_pack();
    let mut file = MappedFile::new(&content.path("entities/customers.json"));
    let sidecar = content.serve_with(&["--poll", "100ms"]);
    assert!(sidecar.permits(&fabrikam_registers()));
    file.wait_until_settled(&sidecar, "entities");
    file.edit("\"Autopilot::CspConsent\"", "broken");
    until("the broken file is refused", || reload_outcome(&sidecar, "entities") == "refused");
    let refused = Instant::now();
    until("it is still refused after several polls", || {
        assert_eq!(reload_outcome(&sidecar, "entities"), "refused");
        refused.elapsed() > Duration::from_millis(500)
    });
    assert!(sidecar.permits(&fabrikam_registers()), "the last good content stays in use");
    file.edit("broken", "\"Autopilot::CspConsent\"");
    file.edit(CONSENT_EDGE, "");
    wait_for_decision(&sidecar, &fabrikam_registers(), false);
    assert_eq!(reload_outcome(&sidecar, "entities"), "accepted");
}

/// Each event causes a poll, and only the polls by interval compare content.
#[test]
fn events_do_not_put_off_the_polls_that_compare_content() {
    let content = Content::of_pack();
    let mut file = MappedFile::new(&content.path("entities/customers.json"));
    let sidecar = content.serve_with(&["--poll", "1s"]);
    file.wait_until_settled(&sidecar, "entities");
    file.edit(CONSENT_EDGE, "");
    until("the consent is revoked", || {
        content.write("entities/noise.txt", "");
        !sidecar.permits(&fabrikam_registers())
    });
}
