//! Measures what a trust store costs at the start: a program builds the function's HTTP clients on it and ends.
//!
//! `cargo bench --bench trust [-- --rounds N]`

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use harness::{Programs, Report, Samples, programs, report, samples::digits};

/// The single file of certificates of the distributions that have one: Debian, Amazon Linux, openSUSE.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// A trust store and the times that it took.
struct Store {
    what: &'static str,
    argument: &'static str,
    /// The environment variable that names the file of certificates.
    by: Option<&'static str>,
    wall: Samples,
    cpu: Samples,
}

fn main() {
    let rounds = programs::option("rounds", 200);
    let program = Programs::build().baseline("trust");
    let bundle = BUNDLES.into_iter().find(|path| Path::new(path).exists()).expect("the system has a bundle");
    let store = |what, argument, by| Store { what, argument, by, wall: Samples::default(), cpu: Samples::default() };
    let mut stores = [
        store("no certificates", "none", None),
        store("webpki-roots, static: as it ships", "static", None),
        store("the same and `AWS_CA_BUNDLE`, the system's file", "bundle", Some("AWS_CA_BUNDLE")),
        store("platform verifier, one file (`SSL_CERT_FILE`)", "platform", Some("SSL_CERT_FILE")),
        store("platform verifier, where it finds certificates", "platform", None),
        store("the SDK's and reqwest's, each its own, one file", "twice", Some("SSL_CERT_FILE")),
        store("the SDK's and reqwest's, each its own", "twice", None),
    ];
    let bar = report::bar(rounds, "starting");
    for _ in 0..rounds {
        for store in &mut stores {
            measure(store.command(&program, bundle), &mut store.wall, &mut store.cpu);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();

    let floor = stores[0].cpu.median();
    let rows = stores.iter().map(|store| {
        let more = format!("{} ms", digits(store.cpu.median() - floor));
        let opens = opens(store, &program, bundle).map_or("unknown".to_owned(), |opens| opens.to_string());
        [store.what.to_owned(), store.wall.show("ms"), store.cpu.show("ms"), more, opens]
    });
    let mut report = Report::new("trust");
    report.table(
        &format!(
            "A program that builds both HTTP clients and ends. Medians of {rounds} rounds, one of each in turn, ± half \
             the distance between the quartiles; files as `strace` counts them, those of the loader among them:"
        ),
        ["trust store", "wall", "CPU", "CPU for the certificates", "files opened"],
        rows.collect(),
    );
    report.finish();
}

impl Store {
    fn command(&self, program: &Path, bundle: &str) -> Command {
        let mut command = Command::new(program);
        self.dress(&mut command, bundle);
        command.arg(self.argument);
        command
    }

    fn dress(&self, command: &mut Command, bundle: &str) {
        command.env_clear().envs(self.by.map(|name| (name, bundle)));
    }
}

fn measure(mut command: Command, wall: &mut Samples, used: &mut Samples) {
    let since = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    // The end of the program's output marks the end of the program.
    let _ = child.stdout.take().map(|mut out| out.read_to_end(&mut Vec::new()));
    wall.time(since.elapsed());
    used.time(programs::cpu_at_end(child.id()));
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?} must succeed");
}

/// Counts the files that the program opens. Returns `None` if strace is not installed.
fn opens(store: &Store, program: &Path, bundle: &str) -> Option<usize> {
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=open,openat"]).arg(program).arg(store.argument);
    store.dress(&mut command, bundle);
    // `strace` is found through the PATH of this process.
    command.env("PATH", std::env::var_os("PATH")?);
    let trace = command.output().ok()?;
    Some(String::from_utf8_lossy(&trace.stderr).lines().filter(|line| line.contains("open")).count())
}
