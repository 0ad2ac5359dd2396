//! Services of others: Redis, memcached, nginx, and Python's server of files, which do not echo,
//! and HAProxy in front of one that does.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::{HAPROXY, MEMCACHED, NGINX, PYTHON, REDIS, eventually, skip_unless};

use crate::others::Foreign;
use crate::pauses::{HALF_A_SECOND, OPEN, expect_an_even_fall};
use crate::run::{
    Bench, DONE, NETWORK_ERRORS, Ran, Rows, TOO_SLOW, VERIFICATION_FAILED, bench, nobody,
};
use crate::serve::serve;

/// A service on a free port of loopback, with a directory of its own.
struct Service {
    process: Foreign,
    address: SocketAddr,
    _directory: TempDir,
}

impl Service {
    #[track_caller]
    fn start(command: impl FnOnce(SocketAddr, &Path) -> Command) -> Self {
        let (address, directory) = (nobody(), TempDir::new().expect("a directory"));
        let mut command = command(address, directory.path());
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
        Self { process: Foreign::start(command, address), address, _directory: directory }
    }

    /// All messages are answered, and rightly.
    #[track_caller]
    fn expect_clean(&self, options: &str) -> Ran {
        let ran = bench(self.address, &format!("{options} --grace 10s"));
        ran.expect_all_answered();
        assert!(ran.number("/messages") > 0, "{}", ran.summary);
        ran
    }
}

fn redis() -> Service {
    Service::start(|address, _| {
        let mut redis = Command::new("redis-server");
        // It refuses other loopback addresses than 127.0.0.1 else.
        redis.args([
            "--bind",
            "127.0.0.1",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--port",
            &address.port().to_string(),
        ]);
        redis
    })
}

const PING: &str = r"--send PING\r\n --reply until:\r\n --expect +PONG\r\n";

#[test]
fn redis_is_loaded_and_every_reply_is_right() {
    if skip_unless("redis_is_loaded_and_every_reply_is_right", REDIS) {
        return;
    }
    let redis = redis();
    for options in [
        "-c 20 -d 300ms",
        "-c 5 -p 16 -d 300ms",
        "-c 5 -r 300 -d 300ms",
        "-c 3 -n 30 --connect-per-message",
    ] {
        let ran = redis.expect_clean(&format!("{PING} {options}"));
        let checked = ran.number("/verify/checked");
        assert!(checked.is_multiple_of(7) && checked >= 7 * ran.number("/messages"), "{checked}");
    }
    let set_and_get =
        r"--send SET\x20k\x200123\r\n --send GET\x20k\r\n --reply lines:1 --reply lines:2";
    redis.expect_clean(&format!(
        r"{set_and_get} --expect +OK\r\n --expect $4\r\n0123\r\n -c 5 -d 300ms"
    ));
    // The same in its own protocol, where a request is an array.
    let array = r"--send *2\r\n$3\r\nGET\r\n$1\r\nk\r\n --expect $4\r\n0123\r\n";
    redis.expect_clean(&format!("{array} -c 5 -p 4 -d 300ms"));
    let ran =
        bench(redis.address, r"--send GET\x20k\r\n --expect $4\r\n0124\r\n -c 1 -n 5 --grace 10s");
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(5, 0, 0);
    ran.expect_said(r#"message 0: the reply differs at offset 7: "3\r\n", expected "4\r\n""#);
}

#[test]
fn a_redis_that_is_stopped_and_goes_on_is_told_of_to_the_last_percentile() {
    let test = "a_redis_that_is_stopped_and_goes_on_is_told_of_to_the_last_percentile";
    if skip_unless(test, REDIS) {
        return;
    }
    let redis = redis();
    let rows = Rows::new();
    let going = Bench::of(&redis.address.to_string(), &format!("{PING} -c 4 {OPEN}"))
        .with(&["--csv", &rows.path()])
        .begin();
    rows.await_rows(1);
    let process = redis.process.process();
    process.signal(Signal::STOP);
    eventually("it has stopped", || process.state() == Some('T'));
    thread::sleep(HALF_A_SECOND);
    process.signal(Signal::CONT);
    let (ran, starved) = going.end_and_starved();
    ran.expect_all_answered().expect_messages(400, 0);
    expect_an_even_fall(&ran, starved);
    // Of 400, the four that waited longest were due within 40 ms of the stop.
    assert!(ran.figure("/latency_us/p99") >= 440_000.0, "{}", ran.summary);
}

#[test]
fn memcached_is_loaded_and_every_reply_is_right() {
    if skip_unless("memcached_is_loaded_and_every_reply_is_right", MEMCACHED) {
        return;
    }
    let memcached = Service::start(|address, _| {
        let mut memcached = Command::new("memcached");
        memcached.args(["-l", "127.0.0.1", "-U", "0", "-u", "nobody", "-p"]);
        memcached.arg(address.port().to_string());
        memcached
    });
    let both = r"--send set\x20k\x200\x200\x204\r\n0123\r\n --reply lines:1 --expect STORED\r\n
        --send get\x20k\r\n --reply until:END\r\n --expect VALUE\x20k\x200\x204\r\n0123\r\nEND\r\n";

    for options in ["-c 20 -d 300ms", "-c 5 -p 16 -d 300ms", "-c 5 -r 300 -d 300ms"] {
        memcached.expect_clean(&format!("{both} {options}"));
    }
}

/// A request for a page, and all of its reply.
fn expect_pages(service: &Service, body: &str) {
    let address = service.address.to_string();
    // The date in the header changes, so only the end is known.
    let ran = Bench::of(&address, "-c 5 -n 100 --grace 10s")
        .with(&["--send", r"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"])
        .with(&["--reply", &format!("until:{body}")])
        .run();
    ran.expect_all_answered().expect_messages(100, 0);
    assert!(ran.number("/bytes_received") > 100 * (body.len() as u64 + 100), "{}", ran.summary);
    assert_eq!(ran.number("/connections_alive"), 5, "they are kept alive");
    // All replies have one length, so the number of bytes tells them apart, too.
    let length = ran.number("/bytes_received") / 100;
    let ran = Bench::of(&address, "-c 5 -n 100 -p 2 --grace 10s")
        .with(&["--send", r"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"])
        .with(&["--reply", &format!("bytes:{length}")])
        .run();
    ran.expect_all_answered().expect_messages(100, 0);
    assert_eq!(ran.number("/bytes_received"), 100 * length);
}

const BODY: &str = "a page that ends here";

#[test]
fn nginx_is_loaded_over_connections_that_are_kept_alive() {
    if skip_unless("nginx_is_loaded_over_connections_that_are_kept_alive", NGINX) {
        return;
    }
    let nginx = Service::start(|address, directory| {
        fs::write(directory.join("page"), BODY).expect("a page");
        let place = directory.to_str().expect("a path in UTF-8");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};"))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}} \
             http {{ access_log off; keepalive_requests 100000; {temporary} \
             server {{ listen {address}; root {place}; }} }}"
        );
        fs::write(directory.join("conf"), configuration).expect("a configuration");
        let mut nginx = Command::new("nginx");
        nginx.args(["-c", &format!("{place}/conf"), "-e", "stderr"]);
        nginx
    });
    expect_pages(&nginx, BODY);
}

#[test]
fn a_server_of_files_in_python_is_loaded_over_connections_that_are_kept_alive() {
    let test = "a_server_of_files_in_python_is_loaded_over_connections_that_are_kept_alive";
    if skip_unless(test, PYTHON) {
        return;
    }
    let python = Service::start(|address, directory| {
        fs::write(directory.join("page"), BODY).expect("a page");
        let mut python = Command::new("python3");
        python.args(["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1"]);
        python.arg(address.port().to_string());
        python
    });
    expect_pages(&python, BODY);
}

#[test]
fn haproxy_in_front_of_an_echo_is_loaded_and_its_own_ends_are_told() {
    let test = "haproxy_in_front_of_an_echo_is_loaded_and_its_own_ends_are_told";
    if skip_unless(test, HAPROXY) {
        return;
    }
    let server = serve(&[]);
    let behind = server.address();
    let start = |timeout: &str| {
        Service::start(|address, directory| {
            let configuration = format!(
                "defaults\n mode tcp\n timeout connect 10s\n timeout client {timeout}\n \
                 timeout server {timeout}\nlisten echo\n bind {address}\n server one {behind}\n"
            );
            let file = directory.join("haproxy.cfg");
            fs::write(&file, configuration).expect("a configuration");
            let mut haproxy = Command::new("haproxy");
            haproxy.arg("-f").arg(file);
            haproxy
        })
    };
    let haproxy = start("60s");
    for options in [
        "-c 20 -d 300ms",
        "-c 5 -p 16 -d 300ms",
        "-c 5 -r 300 -d 300ms",
        "-c 3 -n 30 --connect-per-message",
        "-c 2 --stream --verify -d 300ms",
    ] {
        haproxy.expect_clean(options);
    }
    // A proxy that closes what is idle closes it with nothing in flight.
    let impatient = start("50ms");
    let ran = bench(impatient.address, "-c 1 -r 4 -d 2s --grace 10s");
    ran.expect_wrong(0, 0, 0);
    assert!(ran.number("/reopened") + ran.number("/unanswered") >= 3, "{}", ran.summary);
    let expected = if ran.number("/unanswered") == 0 { DONE } else { NETWORK_ERRORS };
    assert!([Some(expected), Some(TOO_SLOW)].contains(&ran.code), "{}", ran.summary);
}
