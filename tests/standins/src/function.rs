//! The function's process: the real binary, with its log captured, and with signals.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::runtime_api::{RuntimeApi, Shared};

/// A function that is called with every line the process writes, as it comes.
pub type Tee = Arc<dyn Fn(&str) + Send + Sync>;

/// A running function process. Dropping it kills the process.
pub struct Function {
    pid: u32,
    logs: Logs,
    exit: watch::Receiver<Option<ExitStatus>>,
    monitor: AbortHandle,
    api: Arc<Shared>,
}

/// The lines that a process wrote. They are kept after its end.
#[derive(Clone)]
pub(crate) struct Logs(Arc<(Mutex<Vec<String>>, watch::Sender<usize>)>);

impl Logs {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.lock().push(line);
        self.0.1.send_modify(|n| *n += 1);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }
}

impl Function {
    /// Starts `binary` with exactly `env` and AWS_LAMBDA_RUNTIME_API. Set `STANDINS_TEE` to see its lines on stderr.
    ///
    /// # Errors
    /// If the binary cannot be started.
    pub fn spawn(binary: &Path, env: &BTreeMap<String, String>, api: &RuntimeApi) -> io::Result<Self> {
        let tee: Option<Tee> =
            std::env::var_os("STANDINS_TEE").map(|_| Arc::new(|line: &str| eprintln!("{line}")) as Tee);
        Self::spawn_with_tee(binary, env, api, tee)
    }

    /// Does the same as [`Function::spawn`], and also passes every line to `tee`.
    ///
    /// # Errors
    /// If the binary cannot be started.
    pub fn spawn_with_tee(
        binary: &Path,
        env: &BTreeMap<String, String>,
        api: &RuntimeApi,
        tee: Option<Tee>,
    ) -> io::Result<Self> {
        let shared = api.shared();
        let mut child = Command::new(binary)
            .env_clear()
            .envs(env)
            .env("AWS_LAMBDA_RUNTIME_API", api.authority())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        shared.born();
        let pid = child.id().ok_or_else(|| io::Error::other("the process has no id"))?;
        let logs = Logs(Arc::new((Mutex::default(), watch::Sender::new(0))));
        let out = child.stdout.take().map(|pipe| read_lines(pipe, logs.clone(), tee.clone()));
        let err = child.stderr.take().map(|pipe| read_lines(pipe, logs.clone(), tee));
        let (ended, exit) = watch::channel(None);
        let api = Arc::clone(&shared);
        let monitor = tokio::spawn(async move {
            let mut kills = shared.kills();
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    Ok(()) = kills.changed() => { let _ = child.start_kill(); }
                }
            };
            // The last lines are read before the end is reported.
            for reader in [out, err].into_iter().flatten() {
                let _ = tokio::time::timeout(Duration::from_secs(2), reader).await;
            }
            shared.died();
            ended.send_replace(Some(status.unwrap_or_default()));
        });
        Ok(Self { pid, logs, exit, monitor: monitor.abort_handle(), api })
    }

    /// Returns every line written so far, standard output and error together.
    pub fn logs(&self) -> Vec<String> {
        self.logs.lines()
    }

    pub(crate) fn log_buffer(&self) -> Logs {
        self.logs.clone()
    }

    /// Waits for a line that contains `text` and returns it, or `None` after `limit`.
    pub async fn wait_for_log(&self, text: &str, limit: Duration) -> Option<String> {
        let mut grown = self.logs.0.1.subscribe();
        let look = async {
            loop {
                grown.borrow_and_update();
                if let Some(line) = self.logs.lock().iter().find(|line| line.contains(text)) {
                    return Some(line.clone());
                }
                grown.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, look).await.ok().flatten()
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends SIGTERM, as Lambda announces the end of an environment.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGSTOP, as Lambda freezes an environment.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        // The id of a process that has been reaped may belong to another process.
        if self.exit.borrow().is_none()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns the most memory that the running process ever held, in KiB.
    pub fn peak_rss_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns true if the process still runs, or is frozen.
    pub fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for the process to end. Returns `None` after `limit`.
    pub async fn wait_exit(&self, limit: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await.ok()?.ok()?;
        *ended
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
            self.api.died();
        }
        self.monitor.abort();
    }
}

fn read_lines(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    logs: Logs,
    tee: Option<Tee>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if let Some(tee) = &tee {
                tee(&text);
            }
            logs.push(text);
        }
    })
}
