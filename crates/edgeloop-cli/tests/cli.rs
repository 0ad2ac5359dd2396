//! What the tool says and how it ends, from its help to its last line. What it does in between
//! is the contract's, whose tests stand beside this one.

mod serve;

use std::fs::File;
use std::io::{PipeReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::process::Signal;
use serve::{edgeloop, serve, server};
use testkit::{Ended, PATIENCE, Peer, Process, Server, Stopwatch, eventually};

const TOOL: &str = env!("CARGO_BIN_EXE_edgeloop");

const OPTIONS: [&str; 16] = [
    "max-connections",
    "idle-timeout",
    "write-timeout",
    "drain-timeout",
    "buffer-limit",
    "backlog",
    "event-batch",
    "pipes",
    "spin",
    "threads",
    "spread",
    "pin",
    "ipv6-only",
    "log-format",
    "verbose",
    "quiet",
];

fn variable(option: &str) -> String {
    format!("EDGELOOP_{}", option.replace('-', "_").to_uppercase())
}

/// What a run that succeeds and has nothing to complain of prints.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(TOOL).args(arguments).output().expect("the tool");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*said), (Some(0), ""), "{arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The one line on standard error of a run that the user got wrong.
#[track_caller]
fn expect_usage_error(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let line = ended.stderr.strip_suffix('\n').unwrap_or_default();
    assert!(!line.is_empty() && !line.contains('\n'), "not one line: {:?}", ended.stderr);
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    assert!(!line.contains("panicked"), "{line}");
    line
}

/// Ends a server that nobody is connected to, and returns its log up to the totals.
#[track_caller]
fn finish(mut server: Server) -> String {
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0, "{}", server.log().text());
    server.log().expect_line("totals");
    server.log().text()
}

/// A port on which nothing listens now.
fn free_address() -> SocketAddr {
    let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
    holder.local_addr().expect("address")
}

#[test]
fn the_help_names_every_option_with_its_variable_and_all_exit_codes() {
    for line in [&["--help"][..], &["serve", "--help"], &["help", "serve"]] {
        let help = printed(line).split_whitespace().collect::<Vec<_>>().join(" ");
        for option in OPTIONS {
            assert!(help.contains(&format!("--{option}")), "{line:?}: --{option}");
            assert!(help.contains(&format!("[env: {}]", variable(option))), "{line:?}: {option}");
        }
        assert!(help.contains("[env: EDGELOOP_ADDRESS]"), "{line:?}");
        for words in ["Exit codes: 0 ", " 1 The drain", " 2 The command", " 70 A fatal", " 128+N"] {
            assert!(help.contains(words), "{line:?}: {words:?}");
        }
    }
}

#[test]
fn the_short_help_has_one_line_for_each_option() {
    for command in ["serve", "bench", "report"] {
        let short = printed(&[command, "-h"]);
        let long = printed(&[command, "--help"]);
        let options = |help: &str| {
            let lines = help.lines().map(str::trim_start);
            let words =
                lines.filter_map(|line| line.split_whitespace().find(|w| w.starts_with("--")));
            words.map(|word| word.trim_end_matches("...").to_owned()).collect::<Vec<_>>()
        };
        let (_, list) = short.split_once("Options:\n").expect("options");
        let list: Vec<&str> = list.lines().take_while(|line| !line.is_empty()).collect();
        for line in &list {
            assert!(line.starts_with("  -") || line.starts_with("      --"), "{line}");
            assert!(line.len() <= 100, "{line}");
        }
        let all = options(&long);
        for option in options(&list.join("\n")) {
            assert!(all.contains(&option), "{command} --help lacks {option}");
        }
        assert!(short.lines().count() < 60 && long.lines().count() > short.lines().count());
    }
    let serve = printed(&["-h"]);
    for option in OPTIONS {
        let lines = serve.lines().filter(|line| line.contains(&format!("--{option}")));
        assert_eq!(lines.count(), 1, "--{option}");
    }
}

#[test]
fn the_tables_of_the_help_keep_their_columns() {
    for command in ["serve", "bench", "report"] {
        let help = printed(&[command, "--help"]);
        for heading in ["Signals:\n", "Exit codes:\n"] {
            let Some((_, table)) = help.split_once(heading) else {
                assert_eq!((command, heading), ("report", "Signals:\n"));
                continue;
            };
            let rows = table.lines().take_while(|line| line.starts_with("  "));
            for row in rows {
                assert!(row.len() <= 80, "{row}");
                // What begins a row is a key; what continues one is indented.
                let is_row = !row.starts_with("   ");
                let is_key = |word: &str| {
                    word.starts_with("SIG")
                        || word.starts_with(|digit: char| digit.is_ascii_digit())
                };
                let word = row.split_whitespace().next().unwrap_or_default();
                assert!(!is_row || is_key(word), "{command}: {row}");
            }
        }
    }
}

#[test]
fn help_into_a_closed_or_full_standard_output_is_no_panic() {
    for (output, code) in [(">&-", 0), (">/dev/full", 70)] {
        let ended = edgeloop(&["--help"]).shell(&format!("exec {output}")).run();
        assert_eq!(ended.code, Some(code), "{output}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{output}: {}", ended.stderr);
    }
}

#[test]
fn help_for_a_reader_that_is_gone_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut child = Command::new(TOOL)
        .arg("--help")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool");
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("nothing");
    assert_eq!((child.wait().expect("its end").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn every_bad_value_is_one_line_that_names_the_option_or_the_variable() {
    let cases = [
        ("max-connections", "0", "at least 1"),
        ("max-connections", "many", "at least 1"),
        ("idle-timeout", "10", "10m"),
        ("idle-timeout", "0", "none"),
        ("write-timeout", "-1s", "10m"),
        ("drain-timeout", "soon", "none"),
        ("buffer-limit", "64XB", "512KiB"),
        ("buffer-limit", "1", "262144"),
        ("buffer-limit", "15EiB", "at most 8EiB"),
        ("backlog", "128", "4096"),
        ("event-batch", "0", "1 to 4096"),
        ("pipes", "many", "from 0 to 1024"),
        ("spin", "2s", "at most 1s"),
        ("threads", "513", "from 1 to 512, or auto"),
        ("spread", "most", "least, reuseport or exclusive"),
        ("spin", "50", "50us"),
        ("log-format", "xml", "text or json"),
    ];
    for (option, value, allowed) in cases {
        let ended = edgeloop(&["serve", &format!("--{option}"), value]).run();
        let line = expect_usage_error(&ended);
        for words in [&format!("--{option}"), value, allowed] {
            assert!(line.contains(words), "{words:?} is missing: {line}");
        }
        let ended = edgeloop(&[]).env(&variable(option), value).run();
        let line = expect_usage_error(&ended);
        for words in [&variable(option), value, allowed] {
            assert!(line.contains(words), "{words:?} is missing: {line}");
        }
    }
    for option in ["verbose", "quiet", "ipv6-only"] {
        let ended = edgeloop(&[]).env(&variable(option), "perhaps").run();
        assert!(expect_usage_error(&ended).contains(&variable(option)), "{}", ended.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_one_line() {
    for (line, name) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["serve", "--nonsense=\x1b[2J\n"], "--nonsense"),
        (&["--backlog"], "--backlog"),
        (&["-v", "serve"], "serve"),
        (&["--backlog", "5000", "--backlog", "5000"], "--backlog"),
        (&["nonsense"], "nonsense"),
        (&["benhc", "3000"], "'edgeloop bench'"),
        (&["--maxconnections", "5"], "'--max-connections'"),
        (&["bench"], "ADDRESS is missing"),
    ] {
        let ended = edgeloop(line).run();
        assert!(expect_usage_error(&ended).contains(name), "{line:?}: {}", ended.stderr);
    }
}

#[test]
fn an_error_nobody_can_read_still_has_its_exit_code() {
    for output in ["2>&-", "2>/dev/full"] {
        let ended = edgeloop(&["--nonsense"]).shell(&format!("exec {output}")).run();
        assert_eq!(ended.code, Some(2), "{output}");
        let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = taken.local_addr().expect("address").to_string();
        let ended = edgeloop(&[&address]).shell(&format!("exec {output}")).run();
        assert_eq!(ended.code, Some(2), "{output}");
    }
}

#[test]
fn without_a_command_it_serves() {
    let server = edgeloop(&["127.0.0.1:0", "-v"]).start();
    Peer::connect(server.address()).expect_echo(b"hello");
    let server = edgeloop(&[]).env("EDGELOOP_ADDRESS", "127.0.0.1:0, [::1]:0").listeners(2).start();
    for &address in server.addresses() {
        Peer::connect(address).expect_echo(b"hello");
    }
}

#[test]
fn c27_a_name_that_has_no_address_is_one_line_with_exit_code_2() {
    let ended = edgeloop(&["no-such-host.invalid:0"]).run();
    assert!(expect_usage_error(&ended).contains("no-such-host.invalid"), "{}", ended.stderr);
}

#[test]
fn c27_the_same_address_twice_is_in_use() {
    let address = free_address().to_string();
    let ended = edgeloop(&[&address, &address]).run();
    let line = expect_usage_error(&ended);
    assert!(
        line.contains(&format!("cannot listen on {address}: Address already in use")),
        "{line}"
    );
}

#[test]
fn c27_a_bind_error_is_an_object_in_a_json_log() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let ended = edgeloop(&[&address, "--log-format", "json"]).run();
    let line = expect_usage_error(&ended);
    assert!(line.starts_with('{') && line.contains(r#""level":"ERROR""#), "{line}");
    assert!(line.contains(&format!("cannot listen on {address}")), "{line}");
}

#[test]
fn a_name_is_served_on_each_of_its_addresses_that_the_machine_has() {
    let server = edgeloop(&["localhost:0"]).start();
    assert!(server.addresses().iter().all(|address| address.ip().is_loopback()));
    assert!(server.addresses().iter().all(|address| address.port() == server.port()));
    for &address in server.addresses() {
        Peer::connect(address).expect_echo(b"hello");
    }
}

#[test]
fn c24_a_cap_above_the_limit_of_descriptors_is_lowered_with_a_warning() {
    let server = server(&["--max-connections", "100000"]).descriptors(200).start();
    let line = server.log().expect_line("100000");
    assert!(line.contains("WARN"), "{line}");
    let (_, lowered) = line.split_once("--max-connections 100000 lowered to ").expect(&line);
    let cap = lowered.split([' ', ':']).next().and_then(|cap| cap.parse::<usize>().ok());
    assert!(cap.is_some_and(|cap| cap > 100 && cap < 200), "{line}");
    assert!(line.ends_with(": descriptor limit 200 (see ulimit -n)"), "{line}");
}

#[test]
fn a_misspelt_variable_is_told_with_the_nearest_and_ignored() {
    let server = server(&[]).env("EDGELOOP_IDLETIMEOUT", "nonsense").start();
    let line = server.log().expect_line("EDGELOOP_IDLETIMEOUT");
    assert!(line.contains("WARN"), "{line}");
    assert!(line.ends_with("is ignored; did you mean 'EDGELOOP_IDLE_TIMEOUT'?"), "{line}");
    let known = server.log().text();
    assert_eq!(known.matches("unknown variable").count(), 1, "{known}");
}

#[test]
fn a_quiet_log_is_the_listening_line_and_errors() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut silent = Unheard::start(&["-q", "--max-connections", "100000000"], writer);
    silent.expect_echoes(1);
    silent.terminate();
    let log = silent.whole_log(reader);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&format!("listening on {}", silent.address)), "{log}");

    let mut cut_off = server(&["-q", "--drain-timeout", "0"]).start();
    let peer = Peer::connect(cut_off.address());
    peer.expect_echo(b"hello");
    cut_off.signal(Signal::INT);
    assert_eq!(cut_off.exit_code_within(PATIENCE), 1);
    let line = cut_off.log().expect_line("cut off");
    assert!(line.ends_with(": 1"), "{line}");
}

#[test]
fn the_default_log_has_a_beginning_and_an_end_and_no_connection() {
    let server = server(&[]).start();
    for _ in 0..10 {
        Peer::connect(server.address()).expect_echo(b"hello");
    }
    let log = finish(server);
    assert!(!log.contains("opened") && !log.contains("closed"), "{log}");
    assert!(log.lines().count() <= 6, "{log}");
    let totals = log.lines().last().unwrap_or_default();
    for count in ["accepted=10", "ended=10", "bytes_in=50", "bytes_out=50", "cut_off=0"] {
        assert!(totals.contains(count), "{count} is missing: {totals}");
    }
}

#[test]
fn a_verbose_log_has_each_connection() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.log().expect_line(&format!("opened id=1@0 peer={}", peer.address()));
    peer.half_close();
    peer.expect_eof();
    let closing = server.closing_of(peer.address());
    assert_eq!((closing.received(), closing.sent()), (5, 5));
    for words in ["id=1@0", "duration_ms=", "reason=\"finished\""] {
        assert!(closing.says(words), "{closing}");
    }
    let log = finish(server);
    assert!(!log.contains("hello") && !log.contains("epoll"), "{log}");
}

#[test]
fn the_most_verbose_log_has_descriptors_events_and_payload() {
    let server = serve(&["-v"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hel\"lo\n\x1b");
    server.log().expect_line("added to epoll id=1@0 descriptor=");
    server.log().expect_line(r#"received id=1@0 bytes=8 payload="hel\"lo\n\x1b""#);
    // The first bytes may have been read before there was an event.
    peer.expect_echo(b"again");
    server.log().expect_line("event id=1@0 flags=IN|OUT");
}

#[test]
fn c34_escape_sequences_from_the_command_line_never_reach_the_log_either() {
    let ended = edgeloop(&["\x1b[2Jhost\n:80"]).run();
    assert!(expect_usage_error(&ended).contains(r"\u{1b}[2Jhost\n:80"), "{}", ended.stderr);
}

#[test]
fn a_json_log_is_one_object_for_each_line() {
    let server = serve(&["-v", "--log-format", "json"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hel\"lo\n");
    peer.half_close();
    peer.expect_eof();
    server.closing_of(peer.address());
    let address = server.address();
    let log = finish(server);
    for line in log.lines() {
        assert!(line.starts_with(r#"{"timestamp":""#) && line.ends_with('}'), "{line}");
    }
    let listening = format!(r#""message":"listening on {address}","address":"{address}"}}"#);
    assert!(log.contains(&listening), "{log}");
    for part in [
        r#""message":"opened","id":"1@0","peer":""#,
        r#""payload":"\"hel\\\"lo\\n\"""#,
        r#""bytes_in":7,"bytes_out":7,"#,
        r#""message":"totals","accepted":1,"ended":1,"#,
    ] {
        assert!(log.contains(part), "{part} is missing:\n{log}");
    }
}

/// A server with a standard error of the test's own making.
struct Unheard {
    child: Child,
    address: SocketAddr,
}

impl Unheard {
    #[track_caller]
    fn start(options: &[&str], stderr: impl Into<Stdio>) -> Self {
        let address = free_address();
        let child = Command::new(TOOL)
            .arg(address.to_string())
            .args(options)
            .stderr(stderr)
            .spawn()
            .expect("the tool");
        Self { child, address }
    }

    /// Echoes so many messages once it listens, on one connection.
    #[track_caller]
    fn expect_echoes(&self, count: usize) {
        let mut peer = None;
        eventually("it listens", || {
            peer = Peer::try_connect(self.address).ok();
            peer.is_some()
        });
        let peer = peer.expect("a peer");
        for _ in 0..count {
            peer.expect_echo(b"hello");
        }
        peer.half_close();
        peer.expect_eof();
    }

    fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    fn terminate(&self) {
        self.process().signal(Signal::TERM);
    }

    /// Reads its log to the end, which comes when it exits.
    #[track_caller]
    fn whole_log(&mut self, mut reader: PipeReader) -> String {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("the log");
        assert_eq!(self.exit_code(), Some(0), "{log}");
        log
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn c35_the_end_waits_a_second_for_a_stderr_that_was_full_from_the_start() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    ioctl_fionbio(&writer, true).expect("not to wait");
    while (&writer).write(b".").is_ok() {}
    ioctl_fionbio(&writer, false).expect("to wait");
    let mut server = Unheard::start(&["-vv"], writer);
    server.expect_echoes(1000);
    let watch = Stopwatch::start(&[server.process()]);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let lasted = watch.elapsed();
    assert!(lasted >= Duration::from_millis(900), "it gave up after {lasted:?}");
    watch.expect_within(Duration::from_secs(4));
    drop(reader);
}

#[test]
fn c35_a_full_disk_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut server = Unheard::start(&["-vv"], full);
    server.expect_echoes(1000);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn c35_dropped_lines_are_counted_among_the_totals() {
    // The queue overflows while nobody reads, and is read to its end afterwards.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut server = Unheard::start(&["-vv"], writer);
    server.expect_echoes(20_000);
    server.terminate();
    let log = server.whole_log(reader);
    let totals = log.lines().last().unwrap_or_default();
    let dropped = totals.split_once("log_lines_dropped=").map(|(_, count)| count.parse::<usize>());
    let Some(Ok(dropped)) = dropped else { panic!("no count of dropped lines in: {totals}") };
    let shown = log.lines().filter(|line| line.contains("TRACE")).count();
    assert!(dropped > 0 && shown > 0, "{dropped} lines dropped, {shown} shown");
    assert!(log.lines().all(|line| line.starts_with("20")), "half a line");
    // Where lines are missing, the log says how many.
    let gaps = log.lines().filter(|line| line.contains(" of log dropped here"));
    let told: usize = gaps
        .filter_map(|line| {
            line.split_once(" lines=").and_then(|(_, count)| count.parse::<usize>().ok())
        })
        .sum();
    assert_eq!(told, dropped, "{totals}");
}

#[test]
fn c38_a_second_signal_ends_it_although_stderr_is_stuck() {
    let mut server = server(&["-vv", "--drain-timeout", "none"]).stderr_stalls().start();
    let peer = Peer::connect(server.address());
    for _ in 0..2000 {
        peer.expect_echo(&[b'x'; 100]);
    }
    server.signal(Signal::TERM);
    eventually("it drains", || {
        peer.expect_echo(b"tick");
        Peer::try_connect(server.address()).is_err()
    });
    let watch = Stopwatch::start(&[server.process()]);
    assert_eq!(server.exit_code_of_signals(Signal::INT, PATIENCE), 130);
    watch.expect_within(Duration::from_secs(2));
}
