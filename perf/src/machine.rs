//! Where and when it was measured.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::thread::cpus;

/// What stands beside every result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory: String,
    pub(crate) hypervisor: bool,
    pub(crate) governor: String,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) compiler: String,
    pub(crate) commit: String,
    pub(crate) date: String,
    /// Runnable threads when it began, over one minute.
    pub(crate) load: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one, now.
    pub(crate) fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let governor = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: after(&cpuinfo, "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
            cpus: cpus(),
            memory: after(&meminfo, "MemTotal").unwrap_or_else(|| UNKNOWN.to_owned()),
            hypervisor: after(&cpuinfo, "flags").is_some_and(|flags| flags.contains("hypervisor")),
            governor: fs::read_to_string(governor)
                .map_or_else(|_| "none".to_owned(), |text| text.trim().to_owned()),
            kernel: output("uname", &["-sr"]),
            system: after(&release, "PRETTY_NAME").unwrap_or_else(|| UNKNOWN.to_owned()),
            compiler: output("rustc", &["--version"]),
            commit: commit(),
            date: httpdate::fmt_http_date(SystemTime::now()),
            load: load
                .split_ascii_whitespace()
                .next()
                .unwrap_or(UNKNOWN)
                .to_owned(),
        }
    }

    /// Titles and texts, for tables.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let kind = if self.hypervisor {
            "virtual"
        } else {
            "bare metal"
        };
        vec![
            ("CPU", format!("{} x {}, {kind}", self.cpus, self.cpu)),
            ("governor", self.governor.clone()),
            ("memory", self.memory.clone()),
            ("kernel", self.kernel.clone()),
            ("system", self.system.clone()),
            ("compiler", self.compiler.clone()),
            ("commit", self.commit.clone()),
            ("date", self.date.clone()),
            ("load at the start", self.load.clone()),
        ]
    }
}

/// The commit of the sources this was built from, and whether they differ from it.
fn commit() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let commit = output("git", &["-C", root, "rev-parse", "--short=12", "HEAD"]);
    let changes = output(
        "git",
        &["-C", root, "status", "--porcelain", "--untracked-files=no"],
    );
    match changes.as_str() {
        "" | UNKNOWN => commit,
        _ => format!("{commit} with changes"),
    }
}

/// The value of the first line `key : value` or `key=value`.
fn after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let value = line.trim_start().trim_start_matches([':', '=']);
    Some(value.trim().trim_matches('"').to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_both_notations() {
        let text = "model name\t: AMD EPYC\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n";
        assert_eq!(after(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(
            after(text, "PRETTY_NAME").as_deref(),
            Some("Debian GNU/Linux 12")
        );
        assert_eq!(after(text, "flags"), None);
        assert!(
            Machine::look()
                .lines()
                .iter()
                .all(|(_, value)| !value.is_empty())
        );
    }
}
