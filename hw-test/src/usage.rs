//! What a program costs while it works: processor time and memory, as the kernel counts them.

use std::time::Duration;

use anyhow::Context as _;

use crate::child::Program;

/// Unit of the kernel's processor times towards programs (`USER_HZ`), the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a program has used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time over wall time, in percent of one core, since its last start.
    pub(crate) cpu_percent: f64,
    /// Largest resident memory, in MiB.
    pub(crate) peak_mib: f64,
}

/// Processor time that a program has used since its start, in seconds.
pub(crate) fn processor_s(program: &Program) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.pid()))
        .context("no processor time to read")?;
    let ticks = processor_ticks(&stat).context("a processor time that cannot be read")?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// Resident memory of a program now, in MiB.
pub(crate) fn resident_mib(program: &Program) -> anyhow::Result<f64> {
    memory_mib(program, "VmRSS:")
}

fn memory_mib(program: &Program, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()))
        .context("no memory to read")?;
    Ok(kib(&status, field).context("a memory that cannot be read")? / 1024.0)
}

impl Usage {
    /// Reads what `program`, which ran for at most `wall`, has used.
    pub(crate) fn note(&mut self, program: &Program, wall: Duration) -> anyhow::Result<()> {
        self.cpu_percent = 100.0 * processor_s(program)? / wall.as_secs_f64();
        self.peak_mib = memory_mib(program, "VmHWM:")?;
        Ok(())
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat` (proc(5)), in clock ticks.
fn processor_ticks(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A field of `/proc/<pid>/status`, in KiB.
fn kib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{kib, processor_ticks};

    #[test]
    fn the_kernels_lines_are_read_even_when_a_name_has_spaces() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 7 5 0 0 20";
        assert_eq!(processor_ticks(stat), Some(12.0));
        assert_eq!(
            kib("VmPeak: 9 kB\nVmHWM:\t 2048 kB\n", "VmHWM:"),
            Some(2048.0)
        );
        assert_eq!(kib("VmPeak: 9 kB\n", "VmHWM:"), None);
    }
}
