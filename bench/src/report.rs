//! Writes the results of a run: as JSON, as Markdown tables, and as plots.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::numbers::{median, number};
use crate::plot;
use crate::results::{Results, Sample};

impl Results {
    /// Describes the machine, the compiler, and the sidecar under test.
    pub fn describe_machine(&mut self, mandate: &Path) {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let version_of = |program: &Path| {
            let output = Command::new(program).arg("--version").output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        let cpu = read("/proc/cpuinfo");
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        self.machine = BTreeMap::from([
            ("processor", format!("{}, {cores} cores", field(&cpu, "model name"))),
            ("memory", field(&read("/proc/meminfo"), "MemTotal")),
            ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
            ("compiler", version_of(Path::new("rustc"))),
            ("sidecar", version_of(mandate)),
        ]);
    }

    /// The machine, the requirements and the samples, in Markdown.
    pub fn tables(&self) -> String {
        [self.machine_list(), self.requirements_table(), self.samples_table()].join("\n")
    }

    fn machine_list(&self) -> String {
        self.machine.iter().flat_map(|(name, value)| ["- ", name, ": ", value, "\n"]).collect()
    }

    fn requirements_table(&self) -> String {
        let mut text = "| what | measured | asked | | |\n|---|---|---|---|---|\n".to_owned();
        for requirement in &self.requirements {
            text.extend([&requirement.row(), "\n"]);
        }
        text
    }

    /// The medians of the rounds, by server and number of connections.
    fn samples_table(&self) -> String {
        let mut text =
            "| server | connections | requests/s | p50 µs | p99 µs | server CPU a request, µs |\n".to_owned();
        text += "|---|---|---|---|---|---|\n";
        for (connections, samples) in &self.samples {
            for (name, rounds) in samples {
                let median_of =
                    |value: fn(&Sample) -> f64| number(median(&rounds.iter().map(value).collect::<Vec<_>>()));
                let cells = [
                    name.clone(),
                    connections.to_string(),
                    median_of(|sample| sample.rate),
                    median_of(|sample| sample.p50_micros),
                    median_of(|sample| sample.p99_micros),
                    median_of(|sample| sample.cpu_micros),
                ];
                text.extend(["| ", &cells.join(" | "), " |\n"]);
            }
        }
        text
    }

    /// Writes the results and the plots into a folder, and the tables into a page, between the comments
    /// `measured` and `/measured`.
    ///
    /// # Errors
    /// A file cannot be written, or the page does not have the comments.
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
