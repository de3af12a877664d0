//! The programs that are measured, and what the kernel says of their processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use standins::stack::Env;
use standins::{Function, Invocation, Lambda, RuntimeApi};

/// Release builds. Not those that `cargo bench` itself makes: they have the tests' features, and no LTO.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The function as it ships.
    pub function: PathBuf,
    /// A function whose handler does nothing.
    pub empty: PathBuf,
    /// A function that makes the calls of a run one after another and drains the answer.
    pub bare: PathBuf,
}

impl Programs {
    /// Builds them, or finds them built.
    ///
    /// # Panics
    /// If they do not build.
    pub fn build() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let packages = ["--package", "agent-trigger", "--package", "agent-trigger-baselines"];
        let baselines =
            ["bare", "clients", "empty", "logged", "malloc", "other", "trust"].map(|name| format!("--example={name}"));
        let mut build = Command::new(cargo);
        build.args(["build", "--release"]).args(packages).args(["--bin", "agent-trigger"]).args(baselines);
        let built = build.status();
        assert!(built.is_ok_and(|status| status.success()), "the programs to measure must build");
        let release = target().join("release");
        let baseline = |name: &str| release.join("examples").join(name);
        Self { function: release.join("agent-trigger"), empty: baseline("empty"), bare: baseline("bare") }
    }

    /// Another of the baselines, by its name.
    pub fn baseline(&self, name: &str) -> PathBuf {
        self.empty.with_file_name(name)
    }
}

/// Cargo's target directory, seen from a benchmark (`target/release/deps/NAME-HASH`).
pub(crate) fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}

/// Starts a program as a function of its own Runtime API.
///
/// # Panics
/// If it does not start.
pub async fn start(program: &Path, env: &Env) -> Lambda {
    let api = RuntimeApi::start().await;
    let process = Function::spawn(program, env, &api).expect("the program starts");
    Lambda { api, process }
}

/// The scheduled fire number `n` of a trigger: each its own execution.
pub fn invocation(trigger_id: &str, n: u64) -> Invocation {
    let (day, hour, minute, second) = (n / 86_400 + 1, n / 3600 % 24, n / 60 % 60, n % 60);
    let time = format!("2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    Invocation::scheduled(trigger_id, "Count the files", &time).timeout(Duration::from_secs(900))
}

/// The CPU time of all threads that a process has now.
///
/// # Panics
/// If the kernel keeps no such account (`CONFIG_SCHED_INFO`).
pub fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there").flatten();
    // `/proc/PID/stat` counts hundredths of a second; this counts nanoseconds.
    let nanoseconds = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanoseconds).sum())
}

/// The most memory a process ever held, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// The memory a process holds, in bytes.
pub fn resident_memory(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("the kernel says how much memory it holds") * 1024
}

/// The CPU time of a command from its start to its end, and `None` if it is not installed.
///
/// # Panics
/// If it fails.
pub fn cpu_of(command: &mut Command) -> Option<Duration> {
    let mut child = command.spawn().ok()?;
    let used = cpu_at_end(child.id());
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?} must succeed");
    Some(used)
}

/// The CPU time of a child process that ends and has not been waited for.
///
/// # Panics
/// If it is no such process.
pub fn cpu_at_end(pid: u32) -> Duration {
    let stat = format!("/proc/{pid}/stat");
    // Until it is waited for, a process that has ended keeps its account.
    while !fs::read_to_string(&stat)
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    cpu(pid)
}

/// The value of `--name` on the benchmark's command line.
///
/// # Panics
/// If it is not a whole number.
pub fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument.strip_prefix("--") != Some(name)).skip(1);
    arguments.next().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("--{name} takes a whole number")))
}
