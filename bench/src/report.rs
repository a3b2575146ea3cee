//! Results: kept as JSON, shown as a table, drawn as plots.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::numbers::{median, number};
use crate::plot;
use crate::results::{Results, Sample};

impl Results {
    /// What it was measured on, and with.
    pub fn describe_machine(&mut self, mandate: &Path) {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let said = |program: &Path, argument| {
            let output = Command::new(program).arg(argument).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let cpu = read("/proc/cpuinfo");
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        self.machine = BTreeMap::from([
            ("processor", format!("{}, {cores} cores", field(&cpu, "model name"))),
            ("memory", field(&read("/proc/meminfo"), "MemTotal")),
            ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
            ("compiler", said(Path::new("rustc"), "--version")),
            ("sidecar", said(mandate, "--version")),
        ]);
    }

    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            text.extend(["- ", name, ": ", value, "\n"]);
        }
        text += "\n| what | measured | asked | | |\n|---|---|---|---|---|\n";
        for bar in &self.bars {
            text.extend([&bar.row(), "\n"]);
        }
        text += "\n| server | connections | requests/s | p50 µs | p99 µs | server CPU a request, µs |\n";
        text += "|---|---|---|---|---|---|\n";
        for (connections, samples) in &self.samples {
            for (name, rounds) in samples {
                let of =
                    |value: fn(&Sample) -> f64| number(median(&rounds.iter().map(value).collect::<Vec<_>>()));
                let values =
                    [of(|s| s.rate), of(|s| s.p50_micros), of(|s| s.p99_micros), of(|s| s.cpu_micros)];
                let cells = [name.clone(), connections.to_string()].into_iter().chain(values);
                text.extend(["| ", &cells.collect::<Vec<_>>().join(" | "), " |\n"]);
            }
        }
        text
    }

    /// Writes the results and the plots into a folder, and the tables into the page that has a place
    /// for them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path, page: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("results.json"), serde_json::to_string_pretty(self)? + "\n")?;
        plot::from_results(folder)?;
        let text = fs::read_to_string(page)?;
        let (begin, end) = ("<!-- measured -->\n", "<!-- /measured -->");
        let missing = || io::Error::other(format!("`{}` has no place for the tables", page.display()));
        let (before, rest) = text.split_once(begin).ok_or_else(missing)?;
        let (_, after) = rest.split_once(end).ok_or_else(missing)?;
        fs::write(page, format!("{before}{begin}{}{end}{after}", self.tables()))
    }
}
