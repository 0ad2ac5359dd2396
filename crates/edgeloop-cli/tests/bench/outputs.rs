//! The files of a run: none is touched before there is a complete one to take its place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::ops::Deref;
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Signal, getuid};
use testkit::{
    Ended, Files, Launch, OddServer, Oddity, PYTHON, UNSHARE, eventually, holds_for, skip_unless,
};

use crate::run::{DONE, NETWORK_ERRORS, USAGE};
use crate::serve::{edgeloop, program};

const OLD: &str = "what was there before";

/// A server, and a directory with files.
struct Desk {
    server: OddServer,
    files: Files,
}

impl Deref for Desk {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
    }
}

impl Desk {
    fn new() -> Self {
        Self::before(Oddity::None)
    }

    fn before(oddity: Oddity) -> Self {
        Self { server: OddServer::start(oddity), files: Files::new() }
    }

    /// Files with something in them.
    fn with_old(self, names: &[&str]) -> Self {
        for name in names {
            self.write(name, OLD);
        }
        self
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
        path
    }

    /// These files are there, and no others.
    #[track_caller]
    fn expect_names(&self, names: &[&str]) {
        let entries = fs::read_dir(self.directory()).expect("a directory");
        let mut found: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, names);
    }

    /// They are as they were.
    #[track_caller]
    fn expect_old(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.text(name), OLD, "{name}");
        }
    }

    /// A run in this directory.
    fn bench(&self, options: &str) -> Launch {
        let address = self.server.address().to_string();
        let options: Vec<&str> = options.split_whitespace().collect();
        let here = format!("cd '{}'", self.directory().display());
        edgeloop(&["bench", &address, "-c", "2", "--warmup", "0", "-q"]).args(&options).shell(&here)
    }

    /// It ends before it has begun, and says why in one line.
    #[track_caller]
    fn expect_refused(&self, options: &str, words: &[&str]) {
        expect_refused(self.bench(options), words);
        assert_eq!(self.server.peers(), [], "{options}");
    }
}

#[track_caller]
fn expect_refused(launch: Launch, words: &[&str]) {
    let Ended { code, stdout, stderr } = launch.run();
    assert_eq!((code, stdout.as_str()), (Some(USAGE), ""), "{stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_default();
    assert!(!line.is_empty() && !line.contains('\n'), "not one line: {stderr:?}");
    for word in words {
        assert!(line.contains(word), "{word:?} is missing: {line}");
    }
}

#[track_caller]
fn expect_done(launch: Launch) -> Ended {
    let ended = launch.run();
    assert_eq!(ended.code, Some(DONE), "{}", ended.stderr);
    ended
}

#[test]
fn an_old_file_stays_until_the_new_one_is_complete() {
    let desk = Desk::before(Oddity::Delays(Duration::from_millis(5))).with_old(&["a", "b", "c"]);
    let running = desk.bench("-d 1h --json a --csv b --report c").begin();
    eventually("messages come", || desk.server.received() >= 6400);
    desk.expect_old(&["a", "b", "c"]);
    running.process().signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(DONE), "{}", ended.stderr);
    desk.expect_names(&["a", "b", "c"]);
    assert_eq!(desk.json("a")["ended"], "interrupted");
    assert!(desk.text("b").starts_with("second,messages,"), "{}", desk.text("b"));
    assert!(desk.text("c").ends_with("</html>\n"), "{}", desk.text("c"));
}

#[test]
fn a_second_signal_leaves_the_old_files_and_nothing_else() {
    // Nothing is answered, so that the end of the run is waited for.
    let desk = Desk::before(Oddity::Silent).with_old(&["a", "b", "c"]);
    let options = "-d 1h --grace 1h --json a --csv b --report c";
    let mut running = desk.bench(options).begin();
    eventually("messages come", || desk.server.received() >= 128);
    eventually("it ends", || {
        running.process().signal(Signal::TERM);
        !running.is_running()
    });
    assert_eq!(running.end().code, Some(143));
    desk.expect_old(&["a", "b", "c"]);
    desk.expect_names(&["a", "b", "c"]);
}

#[test]
fn a_full_disk_leaves_the_old_file_and_the_others_are_written() {
    for (full, other) in [("--json", "--csv"), ("--report", "--csv")] {
        let desk = Desk::new().with_old(&["full", "other"]);
        // The limit lies between the sizes of the two.
        let limited = desk.bench(&format!("-n 200 {full} full {other} other"));
        let ended = limited.shell("ulimit -f 1").run();
        assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
        let line = "edgeloop: cannot write full: File too large (os error 27)\n";
        assert_eq!(ended.stderr, line);
        assert!(ended.stdout.contains("200 in "), "{}", ended.stdout);
        desk.expect_old(&["full"]);
        assert!(desk.text("other").starts_with("second,"), "{}", desk.text("other"));
        desk.expect_names(&["full", "other"]);
    }
}

#[test]
fn a_disk_that_is_really_full_leaves_the_old_file_too() {
    let test = "a_disk_that_is_really_full_leaves_the_old_file_too";
    if skip_unless(test, UNSHARE) {
        return;
    }
    let desk = Desk::new();
    let script = "mount -t tmpfs -o size=8k none . && cd . && echo old >a; cd \"$PWD\"; \
                  \"$@\"; code=$?; cat a >&2; ls -A >&2; exit $code";
    let shell = format!("exec unshare -rm sh -c '{script}' sh \"$@\"");
    let ended = desk.bench("-n 200 --report a").shell(&shell).run();
    let line = "edgeloop: cannot write a: No space left on device (os error 28)\n";
    assert_eq!(ended.stderr, format!("{line}old\na\n"));
    assert_eq!(ended.code, Some(USAGE));
    assert!(ended.stdout.contains("200 in "), "{}", ended.stdout);
}

#[test]
fn a_file_that_is_mounted_by_itself_is_overwritten() {
    let test = "a_file_that_is_mounted_by_itself_is_overwritten";
    if skip_unless(test, UNSHARE) {
        return;
    }
    let desk = Desk::new().with_old(&["a"]);
    let shell = "exec unshare -rm sh -c 'mount --bind a a && exec \"$@\"' sh \"$@\"";
    expect_done(desk.bench("-n 20 --json a").shell(shell));
    assert_eq!(desk.json("a")["messages"], 20);
    desk.expect_names(&["a"]);
}

#[test]
fn a_directory_that_takes_no_files_is_told_before_the_run() {
    let desk = Desk::new();
    for option in ["--json", "--csv", "--report"] {
        desk.expect_refused(&format!("{option} /sys/a"), &["cannot write /sys/a: "]);
        let words = ["cannot write .: Is a directory"];
        desk.expect_refused(&format!("{option} ."), &words);
        desk.expect_refused(&format!("{option} a/"), &["cannot write a/: No such file"]);
    }
    desk.expect_names(&[]);
}

#[test]
fn every_output_that_fails_is_named() {
    let desk = Desk::new().with_old(&["b", "c"]);
    let options = "-n 200 --json /dev/full --csv b --report c";
    let ended = desk.bench(options).shell("ulimit -f 0").run();
    assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
    let mut lines: Vec<_> = ended.stderr.lines().collect();
    lines.sort_unstable();
    let expected = [
        "edgeloop: cannot write /dev/full: No space left on device (os error 28)",
        "edgeloop: cannot write b: File too large (os error 27)",
        "edgeloop: cannot write c: File too large (os error 27)",
    ];
    assert_eq!(lines, expected);
    assert!(ended.stdout.contains("200 in "), "{}", ended.stdout);
    desk.expect_old(&["b", "c"]);
    desk.expect_names(&["b", "c"]);
}

#[test]
fn links_and_permissions_stay() {
    let desk = Desk::new().with_old(&["a"]);
    // More than the umask would leave.
    fs::set_permissions(desk.path("a"), Permissions::from_mode(0o664)).expect("chmod");
    let owner = if getuid().is_root() { 12_345 } else { getuid().as_raw() };
    chown(desk.path("a"), Some(owner), None).expect("chown");
    symlink("a", desk.path("link")).expect("a link");
    symlink("link", desk.path("twice")).expect("a link");
    symlink("new", desk.path("dangling")).expect("a link");
    let options = "-n 20 --json twice --csv dangling";
    expect_done(desk.bench(options).shell("umask 027"));
    assert_eq!(desk.json("a")["messages"], 20);
    assert!(desk.text("new").starts_with("second,"));
    for (link, to) in [("link", "a"), ("twice", "link"), ("dangling", "new")] {
        assert_eq!(fs::read_link(desk.path(link)).expect("a link"), Path::new(to));
    }
    let mode = |name| fs::metadata(desk.path(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("new")), (0o664, 0o640), "as it was, and by the umask");
    assert_eq!(fs::metadata(desk.path("a")).expect("a").uid(), owner);
    desk.expect_names(&["a", "dangling", "link", "new", "twice"]);
}

#[test]
fn one_file_is_not_two_outputs_by_whatever_names() {
    let desk = Desk::new().with_old(&["a"]);
    fs::create_dir(desk.path("d")).expect("a directory");
    symlink("a", desk.path("link")).expect("a link");
    symlink("new", desk.path("dangling")).expect("a link");
    symlink(".", desk.path("here")).expect("a link");
    fs::hard_link(desk.path("a"), desk.path("hard")).expect("a link");
    desk.fifo("fifo");
    let absolute = desk.name("a");
    for (one, other) in [
        ("a", "a"),
        ("a", "./a"),
        ("d/../a", "a"),
        ("a", absolute.as_str()),
        ("a", "link"),
        ("here/a", "a"),
        ("hard", "a"),
        ("new", "./new"),
        ("new", "dangling"),
        ("here/new", "new"),
        ("fifo", "./fifo"),
        ("/dev/null", "/dev/../dev/null"),
    ] {
        for options in
            [format!("--json {one} --csv {other}"), format!("--csv {one} --report {other}")]
        {
            desk.expect_refused(&options, &["are the same file", "; give two"]);
        }
    }
    let words = ["--json and --csv are both standard output"];
    desk.expect_refused("--json - --csv -", &words);
    desk.expect_refused("--json - --csv /dev/stdout", &words);
    for report in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let words = ["--report cannot be - (standard output), which has the summary"];
        desk.expect_refused(&format!("--report {report}"), &words);
    }
    // What the shell has opened is a name, too.
    for (redirection, words) in [
        ("exec >>a", "--json ./a is also standard output"),
        ("exec 2>>a", "--json ./a is also standard error"),
    ] {
        let ended = desk.bench("--json ./a").shell(redirection).run();
        assert_eq!(ended.code, Some(USAGE));
        if redirection == "exec >>a" {
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        } else {
            let said = desk.text("a");
            assert!(said.contains(words), "{said}");
            fs::write(desk.path("a"), OLD).expect("a");
        }
    }
    desk.expect_old(&["a", "hard"]);
    desk.expect_names(&["a", "d", "dangling", "fifo", "hard", "here", "link"]);
}

#[test]
fn a_run_replaces_the_baseline_that_it_is_compared_with() {
    let desk = Desk::new();
    expect_done(desk.bench("-n 20 --json a"));
    let first = desk.json("a");
    expect_done(desk.bench("-n 30 --json a --baseline ./a --report c"));
    let second = desk.json("a");
    assert_eq!((&first["messages"], &second["messages"]), (&20.into(), &30.into()));
    let page = desk.text("c");
    assert!(page.contains(first["started"].as_str().expect("a time")), "both are on the page");
    fs::hard_link(desk.path("a"), desk.path("hard")).expect("a link");
    let seen = desk.server.peers().len();
    for (option, other) in [("--csv", "./a"), ("--csv", "hard")] {
        let options = format!("--report c --baseline a {option} {other}");
        let words = [option, "would overwrite --baseline"];
        expect_refused(desk.bench(&options), &words);
    }
    expect_refused(desk.bench("--report hard --baseline a"), &["--report hard would overwrite"]);
    assert_eq!(desk.json("a"), second);
    // It is read first, and found to be none.
    let desk = desk.with_old(&["b"]);
    let options = "--json b --baseline b --report c";
    expect_refused(desk.bench(options), &["b is not JSON"]);
    desk.expect_old(&["b"]);
    assert_eq!((desk.text("c"), desk.server.peers().len()), (page, seen));
    desk.expect_names(&["a", "b", "c", "hard"]);
}

#[test]
fn a_fifo_that_nobody_reads_is_told_before_the_run() {
    let desk = Desk::new();
    desk.fifo("fifo");
    for option in ["--json", "--csv", "--report"] {
        let line = "cannot write fifo: nobody reads this FIFO; start its reader first";
        desk.expect_refused(&format!("{option} fifo"), &[line]);
    }
    desk.expect_names(&["fifo"]);
}

#[test]
fn a_fifo_is_written_to_whoever_reads_it() {
    let desk = Desk::new();
    for (option, begins, ends) in
        [("--json", "{\n", "}\n"), ("--csv", "second,", "\n"), ("--report", "<!D", "</html>\n")]
    {
        let path = desk.fifo(option);
        let reader = thread::spawn(move || fs::read_to_string(path).expect("a text"));
        expect_done(desk.bench(&format!("-n 20 {option} ./{option}")));
        let text = reader.join().expect("the reader");
        assert!(text.starts_with(begins) && text.ends_with(ends), "{option}: {text}");
    }
    desk.expect_names(&["--csv", "--json", "--report"]);
}

/// A pipe with a reader that does not read, and no room for another byte.
fn full(path: &Path) -> File {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let open = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    let mut fifo = open.expect("a FIFO");
    while fifo.write(&[b' '; 4096]).is_ok() {}
    fifo
}

#[test]
fn a_reader_that_does_not_read_loses_its_output_alone_and_one_signal_ends_the_wait() {
    let desk = Desk::new();
    let _reader = full(&desk.fifo("fifo"));
    for (option, other) in [("--json", "--csv"), ("--csv", "--json"), ("--report", "--json")] {
        let mut running = desk.bench(&format!("-n 20 {option} fifo {other} other")).begin();
        eventually("the run is over", || fs::exists(desk.path("other")).expect("a look"));
        let span = Duration::from_millis(300);
        holds_for(span, "it waits for the reader", || running.is_running());
        running.process().signal(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
        let line = "edgeloop: cannot write fifo: interrupted; its reader does not read\n";
        assert_eq!(ended.stderr, line);
        assert!(ended.stdout.contains("20 in "), "{}", ended.stdout);
        fs::remove_file(desk.path("other")).expect("the other");
    }
}

#[test]
fn a_reader_that_is_slow_to_begin_with_gets_everything() {
    let desk = Desk::new();
    let mut fifo = full(&desk.fifo("fifo"));
    let running = desk.bench("-n 20 --report fifo --json other").begin();
    eventually("the run is over", || fs::exists(desk.path("other")).expect("a look"));
    let mut text = Vec::new();
    eventually("all has come", || {
        // It would block when there is nothing.
        let _ = fifo.read_to_end(&mut text);
        text.ends_with(b"</html>\n")
    });
    let ended = running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(DONE), ""));
}

#[test]
fn the_table_on_standard_output_is_all_that_is_there() {
    let desk = Desk::new();
    for name in ["-", "/dev/stdout"] {
        let ended = expect_done(desk.bench(&format!("-n 50 --csv {name}")));
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{}", ended.stdout);
        assert!(lines[0].starts_with("second,") && lines[1].starts_with("0,50,0,"), "{lines:?}");
    }
}

#[test]
fn what_the_shell_has_opened_is_added_to() {
    let desk = Desk::new().with_old(&["a", "b"]);
    let options = "-n 20 --json /dev/fd/3 --csv /dev/stderr";
    expect_done(desk.bench(options).shell("exec 3>>a 2>>b"));
    assert!(desk.text("a").starts_with(&format!("{OLD}{{\n")), "{}", desk.text("a"));
    assert!(desk.text("b").starts_with(&format!("{OLD}second,")), "{}", desk.text("b"));
}

#[test]
fn a_hangup_ends_a_run_with_everything_written_unless_it_is_ignored() {
    let desk = Desk::before(Oddity::Delays(Duration::from_millis(5)));
    let running = desk.bench("-d 1h --json a --csv b --report c").begin();
    eventually("messages come", || desk.server.received() >= 6400);
    // Of a terminal that goes away there are several.
    for _ in 0..3 {
        running.process().signal(Signal::HUP);
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(DONE), "{}", ended.stderr);
    assert!(ended.stdout.contains("Interrupted; this is what was measured"), "{}", ended.stdout);
    assert_eq!(desk.json("a")["ended"], "interrupted");
    desk.expect_names(&["a", "b", "c"]);
    let running = desk.bench("-r 50 -d 1s --grace 10s --json a").shell("trap '' HUP").begin();
    let before = desk.server.received();
    eventually("messages come", || desk.server.received() > before);
    running.process().signal(Signal::HUP);
    let _ = running.end();
    assert_eq!(
        (&desk.json("a")["ended"], &desk.json("a")["messages"]),
        (&"whole".into(), &50.into())
    );
}

/// Runs a program on a terminal of its own, which goes away when the file that is named first is
/// there.
const HANGS_UP: &str = r"
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os.close(terminal)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
";

#[test]
fn a_terminal_that_goes_away_takes_no_results_with_it() {
    let test = "a_terminal_that_goes_away_takes_no_results_with_it";
    if skip_unless(test, PYTHON) {
        return;
    }
    let desk = Desk::before(Oddity::Delays(Duration::from_millis(5)));
    let (gone, address) = (desk.name("gone"), desk.server.address().to_string());
    let (json, csv) = (desk.name("a"), desk.name("b"));
    let running = Launch::new("python3")
        .args(&["-c", HANGS_UP, &gone, &program(), "bench", &address, "-c", "2", "-d", "1h"])
        .args(&["--warmup", "0", "--json", &json, "--csv", &csv])
        .begin();
    eventually("messages come", || desk.server.received() >= 6400);
    fs::write(desk.path("gone"), "").expect("a file");
    // The summary can't be written any more.
    assert_eq!(running.end().code, Some(USAGE));
    assert_eq!(desk.json("a")["ended"], "interrupted");
    assert!(desk.text("b").starts_with("second,"), "{}", desk.text("b"));
    desk.expect_names(&["a", "b", "gone"]);
}

#[test]
fn a_run_that_fails_leaves_the_old_file() {
    let desk = Desk::new().with_old(&["a", "b"]);
    // No descriptor is left for a loop.
    let ended = desk.bench("-n 20 --json a --csv b").descriptors(10).run();
    assert_eq!(ended.code, Some(70), "{}", ended.stderr);
    desk.expect_old(&["a", "b"]);
    desk.expect_names(&["a", "b"]);
    // One in which nobody is there has results, too.
    let desk = Desk::new().with_old(&["a"]);
    let address = crate::run::nobody().to_string();
    let ended = edgeloop(&["bench", &address, "-q", "--json", &desk.name("a")]).run();
    assert_eq!(ended.code, Some(NETWORK_ERRORS), "{}", ended.stderr);
    assert_eq!(desk.json("a")["ended"], "no_connection");
}

#[test]
fn reports_and_sums_are_files_of_the_same_kind() {
    let desk = Desk::new();
    expect_done(desk.bench("-n 20 --json a"));
    let results = desk.text("a");
    let desk = desk.with_old(&["b", "c"]);
    fs::hard_link(desk.path("a"), desk.path("hard")).expect("a link");
    symlink("b", desk.path("link")).expect("a link");
    desk.fifo("fifo");
    let here = format!("cd '{}'", desk.directory().display());
    let report = |arguments: &[&str]| edgeloop(&["report"]).args(arguments).shell(&here);
    for (output, json) in [("b", "./b"), ("b", "link"), ("new", "./new"), ("-", "/dev/stdout")] {
        let words: &[&str] = if output == "-" {
            &["--output and --json are both standard output"]
        } else {
            &["--output and --json are the same file"]
        };
        expect_refused(report(&["a", "-o", output, "--json", json]), words);
    }
    for output in ["a", "./a", "hard"] {
        for option in ["-o", "--json"] {
            let words = ["would overwrite what is read"];
            expect_refused(report(&["a", option, output]), &words);
            expect_refused(report(&["-", option, output]).shell("exec <a"), &words);
        }
        let words = ["--json", "would overwrite what is read"];
        let baseline = ["b", "-o", "c", "--baseline", "hard", "--json", output];
        expect_refused(report(&baseline), &words);
    }
    let words = ["cannot write fifo: nobody reads this FIFO"];
    expect_refused(report(&["a", "-o", "fifo"]), &words);
    // The sum fits, the page does not.
    let ended = report(&["a", "-o", "link", "--json", "c"]).shell("ulimit -f 10").run();
    let line = "edgeloop: cannot write link: File too large (os error 27)\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(USAGE), line));
    desk.expect_old(&["b"]);
    assert_eq!(desk.json("c")["messages"], 20);
    expect_done(report(&["a", "-o", "link"]));
    assert!(desk.text("b").ends_with("</html>\n"), "{}", desk.text("b"));
    assert_eq!(desk.text("a"), results);
    desk.expect_names(&["a", "b", "c", "fifo", "hard", "link"]);
}
