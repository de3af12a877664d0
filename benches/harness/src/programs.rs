//! The programs under measurement, and what the kernel reports about their processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use standins::stack::Env;
use standins::{Function, Invocation, Lambda, RuntimeApi};

/// Release builds of the programs. They are not the builds that `cargo bench` makes, which have the tests' features and
/// no LTO.
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
    /// Builds the programs unless they are up to date.
    ///
    /// # Panics
    /// If a program does not build.
    pub fn build() -> Self {
        Self::build_with(&["bare", "clients", "empty", "logged", "malloc", "other", "tokens", "trust"])
    }

    /// Builds the function and these baselines alone, unless they are up to date.
    ///
    /// # Panics
    /// If a program does not build.
    pub fn build_with(baselines: &[&str]) -> Self {
        let baselines: Vec<_> = baselines.iter().map(|name| format!("--example={name}")).collect();
        let mut arguments = vec!["--package=agent-trigger", "--package=agent-trigger-baselines", "--bin=agent-trigger"];
        arguments.extend(baselines.iter().map(String::as_str));
        build(&arguments);
        let release = target().join("release");
        let baseline = |name: &str| release.join("examples").join(name);
        Self { function: release.join("agent-trigger"), empty: baseline("empty"), bare: baseline("bare") }
    }

    /// Returns the path of another baseline by its name.
    pub fn baseline(&self, name: &str) -> PathBuf {
        self.empty.with_file_name(name)
    }
}

/// Builds the control plane unless it is up to date, and returns its path. The build is one of its own, as the deployed one
/// is: its crates would add their features to those of the function.
///
/// # Panics
/// If it does not build.
pub fn control_plane() -> PathBuf {
    build(&["--package=agent-trigger-api", "--bin=agent-trigger-api"]);
    target().join("release/agent-trigger-api")
}

fn build(arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release"]).args(arguments).status();
    assert!(built.is_ok_and(|status| status.success()), "the programs to measure must build");
}

/// Returns cargo's target directory, found from a benchmark's own path (`target/release/deps/NAME-HASH`).
pub(crate) fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}

/// Starts a program as a function with a Runtime API of its own.
///
/// # Panics
/// If it does not start.
pub async fn start(program: &Path, env: &Env) -> Lambda {
    let api = RuntimeApi::start().await;
    let process = Function::spawn(program, env, &api).expect("the program starts");
    Lambda { api, process }
}

/// Builds the `n`th scheduled fire of a trigger. Each is an execution of its own.
pub fn invocation(trigger_id: &str, n: u64) -> Invocation {
    let (day, hour, minute, second) = (n / 86_400 + 1, n / 3600 % 24, n / 60 % 60, n % 60);
    let time = format!("2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    Invocation::scheduled(trigger_id, "Count the files", &time).timeout(Duration::from_secs(900))
}

/// Returns the CPU time that all threads alive in a process have used.
///
/// # Panics
/// If the kernel does not keep this account (`CONFIG_SCHED_INFO`).
pub fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there").flatten();
    // `/proc/PID/stat` counts hundredths of a second, `schedstat` counts nanoseconds.
    let nanoseconds = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanoseconds).sum())
}

/// Lets a process run on one processor only, so that it shares none with the programs beside it. Returns false if that
/// is not possible.
pub fn pin(pid: u32, processor: usize) -> bool {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &processor.to_string(), &pid.to_string()]);
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

/// Returns the most memory that a process ever held, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Returns the memory that a process holds now, in bytes.
pub fn resident_memory(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("the kernel says how much memory it holds") * 1024
}

/// Returns the CPU time of a command from its start to its end, or `None` if it is not installed.
///
/// # Panics
/// If it fails.
pub fn cpu_of(command: &mut Command) -> Option<Duration> {
    let mut child = command.spawn().ok()?;
    let used = cpu_at_end(child.id());
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?} must succeed");
    Some(used)
}

/// Waits for the end of a child process that has not been reaped, and returns its CPU time.
///
/// # Panics
/// If there is no such process.
pub fn cpu_at_end(pid: u32) -> Duration {
    let stat = format!("/proc/{pid}/stat");
    // A process that has ended keeps its account until it is reaped.
    while !fs::read_to_string(&stat)
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    cpu(pid)
}

/// Returns the value of `--name` on the benchmark's command line.
///
/// # Panics
/// If it is not a whole number.
pub fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument.strip_prefix("--") != Some(name)).skip(1);
    arguments.next().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("--{name} takes a whole number")))
}
