//! `edgeloop bench` beside the load generators that come with the services of others: the same
//! service, the same load, in turn. Where the service is the limit, both must find the same rate.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::args::ServicesArgs;
use crate::binary::is_there;
use crate::failure::{Failure, named};
use crate::interrupt;
use crate::place::{SERVERS, launched};
use crate::process::Process;
use crate::show::{or_dash, print, table_left, thousands};
use crate::statistics::median;

/// The rates may differ by so much.
const TOLERANCE: f64 = 0.1;

/// A service that runs for less than this share of the time is not the limit: the tool is.
const BUSY: f64 = 0.9;

const CONNECTIONS: &str = "50";

/// How long a service may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a page that is asked for ends with.
const END: &str = "the end of this page";

/// A load, as a tool of its own field makes it and as `edgeloop bench` does.
struct Load {
    name: &'static str,
    service: Service,
    tool: &'static str,
    package: &'static str,
    /// The tool's arguments; `{address}`, `{port}`, `{seconds}`, `{messages}` and `{directory}` are
    /// filled in.
    theirs: &'static str,
    read: fn(&str) -> Option<Figures>,
    /// The options of `edgeloop bench`, each a whole argument.
    ours: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Redis,
    Memcached,
    Nginx,
}

/// What a run came to: messages a second, and percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    rate: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    /// The share of the time in which the service ran.
    busy: f64,
}

const LOADS: [Load; 6] = [
    Load {
        name: "redis-ping",
        service: Service::Redis,
        tool: "redis-benchmark",
        package: "redis-tools",
        theirs: "-h 127.0.0.1 -p {port} -c 50 -n {messages} -t ping_mbulk --csv",
        read: redis_benchmark,
        ours: &["--send", r"*1\r\n$4\r\nPING\r\n", "--expect", r"+PONG\r\n"],
    },
    Load {
        name: "redis-ping-16",
        service: Service::Redis,
        tool: "redis-benchmark",
        package: "redis-tools",
        theirs: "-h 127.0.0.1 -p {port} -c 50 -n {messages} -P 16 -t ping_mbulk --csv",
        read: redis_benchmark,
        ours: &["-p", "16", "--send", r"*1\r\n$4\r\nPING\r\n", "--expect", r"+PONG\r\n"],
    },
    Load {
        name: "redis-set",
        service: Service::Redis,
        tool: "redis-benchmark",
        package: "redis-tools",
        theirs: "-h 127.0.0.1 -p {port} -c 50 -n {messages} -d 3 -t set --csv",
        read: redis_benchmark,
        ours: &[
            "--send",
            r"*3\r\n$3\r\nSET\r\n$16\r\nkey:__rand_int__\r\n$3\r\nxxx\r\n",
            "--expect",
            r"+OK\r\n",
        ],
    },
    Load {
        name: "redis-eval",
        service: Service::Redis,
        tool: "redis-benchmark",
        package: "redis-tools",
        // Enough work for the service to be the limit.
        theirs: "-h 127.0.0.1 -p {port} -c 50 -n {messages} --csv EVAL for\u{a0}i=1,2000\u{a0}do\u{a0}end 0",
        read: redis_benchmark,
        ours: &[
            "--send",
            r"*3\r\n$4\r\nEVAL\r\n$19\r\nfor i=1,2000 do end\r\n$1\r\n0\r\n",
            "--expect",
            r"$-1\r\n",
        ],
    },
    Load {
        name: "memcached",
        service: Service::Memcached,
        tool: "memcaslap",
        package: "libmemcached-tools",
        theirs: "-s {address} -T 1 -c 50 -t {seconds}s -F {directory}/memaslap",
        read: memaslap,
        ours: &["--send", "@{directory}/set", "--reply", r"until:\r\n"],
    },
    Load {
        name: "nginx",
        service: Service::Nginx,
        tool: "wrk",
        package: "wrk",
        theirs: "-t 1 -c 50 -d {seconds}s --latency http://{address}/page",
        read: wrk,
        ours: &[
            "--send",
            r"GET /page HTTP/1.1\r\nHost: {address}\r\n\r\n",
            "--reply",
            "until:the end of this page",
        ],
    },
];

/// The share of sets in the load of memaslap is a tenth; the others are gets.
const GETS: usize = 9;

/// Measures all loads, or those that are named. Returns whether the rates are the same.
pub(crate) fn compare(arguments: &ServicesArgs, edgeloop: &Path) -> Result<bool, Failure> {
    for name in &arguments.load {
        if !LOADS.iter().any(|load| load.name == *name) {
            let names = LOADS.map(|load| load.name).join(", ");
            return Err(Failure::usage(format!("no load {name}; there are {names}")));
        }
    }
    let mut rows = vec![
        [
            "load",
            "tool",
            "its rate",
            "ours",
            "ratio",
            "service busy",
            "ours",
            "p50",
            "ours",
            "p99",
            "ours",
            "",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let mut same = true;
    for load in &LOADS {
        if !arguments.load.is_empty() && !arguments.load.iter().any(|name| name == load.name) {
            continue;
        }
        let missing = [load.service.program(), load.tool].into_iter().find(|name| !is_there(name));
        if let Some(missing) = missing {
            eprintln!("{}: {missing} is missing (package {})", load.name, load.package);
            same = false;
            continue;
        }
        let (row, held) = measure(load, arguments, edgeloop)?;
        same &= held;
        rows.push(row);
    }
    print(&table_left(&rows))?;
    Ok(same)
}

/// Runs both in turn, against one service.
fn measure(
    load: &Load,
    arguments: &ServicesArgs,
    edgeloop: &Path,
) -> Result<(Vec<String>, bool), Failure> {
    let running = Running::start(load.service)?;
    let seconds = arguments.seconds;
    let ours = || {
        let mut command = Command::new(edgeloop);
        command.args(["bench", &running.address.to_string(), "--quiet", "--json", "-"]);
        command.args(["--warmup", "0", "--connections", CONNECTIONS, "--duration"]);
        command.arg(format!("{seconds}s"));
        command.args(load.ours.iter().map(|word| running.fill(word, seconds, 0)));
        if load.service == Service::Memcached {
            for _ in 0..GETS {
                command.args(["--send", &running.fill("@{directory}/get", seconds, 0)]);
                command.args(["--reply", r"until:END\r\n"]);
            }
        }
        running.figures(&mut command, bench, |_| f64::from(seconds))
    };
    // Theirs runs so many messages, and not for so long.
    let mut rate = ours()?.rate;
    let (mut theirs_all, mut ours_all) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        interrupt::check()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let messages = (rate * f64::from(seconds)) as u64;
        let words = load.theirs.split(' ').map(|word| running.fill(word, seconds, messages));
        let mut command = Command::new(load.tool);
        command.args(words);
        // redis-benchmark ends with its last message, the others after their time.
        let counts = load.theirs.contains("{messages}");
        let took = |rate: f64| if counts { to_f64(messages) / rate } else { f64::from(seconds) };
        let mut theirs = || running.figures(&mut command, load.read, took);
        // Each goes first as often as the other.
        let (their, our) = if round % 2 == 0 {
            let their = theirs()?;
            (their, ours()?)
        } else {
            let our = ours()?;
            (theirs()?, our)
        };
        rate = our.rate;
        theirs_all.push(their);
        ours_all.push(our);
    }
    let ratios = ours_all.iter().zip(&theirs_all).map(|(our, their)| our.rate / their.rate);
    let ratio = median(&ratios.collect::<Vec<_>>());
    let same = (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio);
    let busy = |all: &[Figures]| median(&all.iter().map(|one| one.busy).collect::<Vec<_>>());
    let is_limit = |all: &[Figures]| busy(all) < BUSY;
    let verdict = match ratio {
        _ if same => "same",
        ratio if ratio > 1.0 && is_limit(&theirs_all) => "its own limit",
        ratio if ratio < 1.0 && is_limit(&ours_all) => "OUR OWN LIMIT",
        _ => "DIFFERS",
    };
    let of = |all: &[Figures], figure: fn(&Figures) -> Option<f64>| {
        let figures: Option<Vec<f64>> = all.iter().map(figure).collect();
        figures.map(|figures| median(&figures))
    };
    let time = |all, figure| or_dash(of(all, figure), |millis| format!("{millis:.3} ms"));
    let rate = |all| or_dash(of(all, |one| Some(one.rate)), thousands);
    let row = vec![
        load.name.to_owned(),
        load.tool.to_owned(),
        rate(&theirs_all),
        rate(&ours_all),
        format!("{ratio:.3}"),
        format!("{:.0} %", 100.0 * busy(&theirs_all)),
        format!("{:.0} %", 100.0 * busy(&ours_all)),
        time(&theirs_all, |one| one.p50),
        time(&ours_all, |one| one.p50),
        time(&theirs_all, |one| one.p99),
        time(&ours_all, |one| one.p99),
        verdict.to_owned(),
    ];
    Ok((row, ["same", "its own limit"].contains(&verdict)))
}

fn bench(text: &str) -> Option<Figures> {
    let results: serde_json::Value = serde_json::from_str(text).ok()?;
    // A rate at which anything was wrong is none.
    let wrong = ["mismatched", "missing", "surplus"].map(|name| results["verify"][name].as_u64());
    if wrong != [Some(0); 3] || results["unanswered"].as_u64() != Some(0) {
        return None;
    }
    let millis = |name: &str| results["latency_us"][name].as_f64().map(|micros| micros / 1000.0);
    Some(Figures {
        rate: results["rate"].as_f64()?,
        p50: millis("p50"),
        p99: millis("p99"),
        busy: 0.0,
    })
}

/// `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",...`
fn redis_benchmark(text: &str) -> Option<Figures> {
    let fields = text.lines().last()?.split(',').map(|field| field.trim_matches('"').parse().ok());
    let fields: Vec<Option<f64>> = fields.collect();
    // The name of the test may have commas in it.
    let [.., rate, _, _, p50, _, p99, _] = fields[..] else { return None };
    Some(Figures { rate: rate?, p50, p99, busy: 0.0 })
}

/// `Run time: 2.0s Ops: 116515 TPS: 58253 Net_rate: 65.2M/s`
fn memaslap(text: &str) -> Option<Figures> {
    let line = text.lines().rfind(|line| line.starts_with("Run time:"))?;
    let rate = line.split("TPS:").nth(1)?.split_whitespace().next()?.parse().ok()?;
    Some(Figures { rate, p50: None, p99: None, busy: 0.0 })
}

/// `Requests/sec: 61234.56`, and `50% 612.00us` among the lines above it.
fn wrk(text: &str) -> Option<Figures> {
    let behind = |name: &str| {
        let words = text.lines().filter_map(|line| line.trim().strip_prefix(name));
        words.map(str::trim).next()
    };
    let millis = |text: &str| {
        let (number, unit) = text.split_at(text.find(|letter: char| letter.is_alphabetic())?);
        let factor = match unit {
            "us" => 0.001,
            "ms" => 1.0,
            "s" => 1000.0,
            _ => return None,
        };
        Some(number.parse::<f64>().ok()? * factor)
    };
    let rate = behind("Requests/sec:")?.parse().ok()?;
    Some(Figures {
        rate,
        p50: behind("50%").and_then(millis),
        p99: behind("99%").and_then(millis),
        busy: 0.0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
const fn to_f64(number: u64) -> f64 {
    number as f64
}

impl Service {
    const fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Memcached => "memcached",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it at this address, with files in this directory.
    fn command(self, address: SocketAddr, directory: &str) -> io::Result<Command> {
        let port = address.port().to_string();
        let mut command = Command::new(self.program());
        match self {
            Self::Redis => {
                command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port]);
                command.args(["--dir", directory]);
            }
            Self::Memcached => {
                command.args(["-l", "127.0.0.1", "-U", "0", "-u", "nobody", "-t", "1"]);
                command.args(["-p", &port]);
                let (key, value) = ("k".repeat(64), "v".repeat(1024));
                let set = format!("set {key} 0 0 1024\r\n{value}\r\n");
                fs::write(format!("{directory}/set"), set)?;
                fs::write(format!("{directory}/get"), format!("get {key}\r\n"))?;
                let mix = "key\n64 64 1\nvalue\n1024 1024 1\ncmd\n0 0.1\n1 0.9\n";
                fs::write(format!("{directory}/memaslap"), mix)?;
            }
            Self::Nginx => {
                fs::write(format!("{directory}/page"), format!("{}\n{END}", "x".repeat(512)))?;
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {directory}/{name};"))
                    .concat();
                let configuration = format!(
                    "daemon off; master_process off; pid {directory}/pid; error_log stderr; \
                     events {{}} http {{ access_log off; keepalive_requests 1000000000; \
                     {temporary} server {{ listen {address}; root {directory}; }} }}"
                );
                fs::write(format!("{directory}/conf"), configuration)?;
                command.args(["-e", "stderr", "-c", &format!("{directory}/conf")]);
            }
        }
        Ok(command)
    }
}

/// A service that runs, in a directory that goes with it.
struct Running {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Running {
    fn start(service: Service) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let name = format!("edgeloop-comparisons-{}-{}", std::process::id(), address.port());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory)?;
        let command = service.command(address, &directory.to_string_lossy());
        let child = command.and_then(|command| {
            let mut command = launched(SERVERS, &command)?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        });
        let child = child.inspect_err(|_| drop(fs::remove_dir_all(&directory)))?;
        let running = Self { child, address, directory };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            interrupt::check()?;
            if begin.elapsed() > PATIENCE {
                let line = format!("{} does not listen on {address}", service.program());
                return Err(io::Error::other(line).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Runs a tool, and reads what it prints. How long it took, in seconds, can depend on its rate.
    fn figures(
        &self,
        command: &mut Command,
        read: fn(&str) -> Option<Figures>,
        took: impl Fn(f64) -> f64,
    ) -> io::Result<Figures> {
        let name = command.get_program().display().to_string();
        let process = Process::new(self.child.id());
        let before = process.schedule()?.run;
        let output = command.stdin(Stdio::null()).output().map_err(|error| named(&name, &error))?;
        interrupt::check()?;
        let ran = to_f64(process.schedule()?.run - before) / 1e9;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures = read(&text).ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            let status = output.status;
            io::Error::other(format!("{name} ended with {status} and printed no rate: {said}"))
        })?;
        Ok(Figures { busy: ran / took(figures.rate), ..figures })
    }

    /// An argument with what this service has in its places.
    fn fill(&self, word: &str, seconds: u32, messages: u64) -> String {
        word.replace("{address}", &self.address.to_string())
            .replace("{port}", &self.address.port().to_string())
            .replace("{seconds}", &seconds.to_string())
            .replace("{messages}", &messages.to_string())
            .replace("{directory}", &self.directory.to_string_lossy())
            // Blanks within an argument.
            .replace('\u{a0}', " ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Each fails where there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tools_print_is_read() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                   \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"PING_MBULK\",\"26288.12\",\"1.8\",\"0.1\",\"0.479\",\"2.0\",\"7.719\",\"9.9\"\n";
        let expected = Figures { rate: 26_288.12, p50: Some(0.479), p99: Some(7.719), busy: 0.0 };
        assert_eq!(redis_benchmark(csv), Some(expected));
        let text = "Latency Distribution\n     50%  612.00us\n     75%    1.00ms\n     99%    1.50ms\n\
                    Requests/sec:  61234.56\n";
        let expected = Figures { rate: 61_234.56, p50: Some(0.612), p99: Some(1.5), busy: 0.0 };
        assert_eq!(wrk(text), Some(expected));
        let text = "cmd_get: 1\n\nRun time: 2.0s Ops: 116515 TPS: 58253 Net_rate: 65.2M/s\n";
        assert_eq!(memaslap(text).map(|figures| figures.rate), Some(58_253.0));
        for read in [redis_benchmark, wrk, memaslap, bench] {
            assert_eq!(read("something else"), None);
        }
    }

    #[test]
    fn a_rate_with_wrong_replies_is_none() {
        let run = |surplus: u64| {
            format!(
                r#"{{"rate": 5.0, "unanswered": 0, "latency_us": {{"p50": 1000.0, "p99": null}},
                "verify": {{"mismatched": 0, "missing": 0, "surplus": {surplus}}}}}"#
            )
        };
        assert_eq!(
            bench(&run(0)),
            Some(Figures { rate: 5.0, p50: Some(1.0), p99: None, busy: 0.0 })
        );
        assert_eq!(bench(&run(1)), None);
    }
}
