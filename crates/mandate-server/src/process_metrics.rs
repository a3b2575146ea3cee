//! The metrics of the process, under Prometheus's standard names. A system without `/proc` lacks some of them.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// Registers the metrics with their values of now.
pub fn register(registry: &mut Registry, started: SystemTime) {
    if let Some(seconds) = cpu_seconds() {
        let help = "CPU time that the process has used, in seconds";
        registry.register("process_cpu_seconds", help, ConstCounter::new(seconds));
    }
    let start = Gauge::<f64, AtomicU64>::default();
    start.set(started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let help = "When the process started, in seconds since the epoch";
    registry.register("process_start_time_seconds", help, start);
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            registry.register(name, help, ConstGauge::new(value));
        }
    };
    gauge("process_resident_memory_bytes", "Memory that the process has in use, in bytes", resident_bytes());
    gauge("process_open_fds", "Open file descriptors", open_descriptors());
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    gauge("process_max_fds", "The most file descriptors that may be open", Some(most));
}

/// The unit in which Linux tells programs their CPU time, on all platforms that Rust has.
const TICKS_PER_SECOND: f64 = 100.0;

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes first and may have spaces. The time in user mode is the 12th field after
    // it, and that in the kernel the 13th.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<u32> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Some(ticks.into_iter().map(f64::from).sum::<f64>() / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

fn open_descriptors() -> Option<u64> {
    // One of them is that of the listing itself.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.checked_sub(1)
}
