//! What a run runs on, so that it can be repeated.

use std::fs;
use std::time::Duration;

use crate::escape::OneLine;
use crate::results::Machine;

/// This machine.
pub(crate) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let line = |text: &str| OneLine(text.trim()).to_string();
    let field = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned())
    };
    let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let kibibytes = field(&memory, "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    Machine {
        host: line(&read("/proc/sys/kernel/hostname")),
        kernel: format!("Linux {}", line(&read("/proc/sys/kernel/osrelease"))),
        processor: line(&field(&processors, "model name").unwrap_or_default()),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: kibibytes.unwrap_or(0) * 1024,
    }
}

/// The processor time that this process has taken.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
    Duration::from_nanos(nanos)
}
