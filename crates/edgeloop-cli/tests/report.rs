//! Pages of what runs came to: that a browser shows the figures of the results and asks nobody for
//! anything, that runs are merged, and what is said of files that hold no run.

mod serve;
mod valid;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serve::{edgeloop, serve};
use testkit::{CHROMIUM, Ended, Files, skip_unless};

/// A short run.
#[track_caller]
fn bench(options: &[&str]) {
    let server = serve(&[]);
    let address = server.address().to_string();
    let common = ["bench", &address, "-q", "-c", "4", "--warmup", "100ms", "-d", "1s"];
    let ended = edgeloop(&common).args(options).run();
    // A machine with much else to do may be late, and says so.
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
}

fn report(arguments: &[&str]) -> Ended {
    edgeloop(&["report"]).args(arguments).run()
}

#[track_caller]
fn expect_refused(arguments: &[&str], words: &[&str]) {
    let ended = report(arguments);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    let line = ended.stderr.strip_suffix('\n').unwrap_or_default();
    assert!(!line.contains(char::is_control), "not one line: {line:?}");
    assert!(line.starts_with("edgeloop: "), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

/// What a browser sees of a page in a window that is 360 pixels wide.
struct Seen {
    /// The name, the machine-readable value and the text of each figure.
    figures: Vec<(String, Option<f64>, String)>,
    /// How wide it is, with all that is hidden at first.
    width: u64,
    /// What else it asked for, or tried to.
    resources: Vec<String>,
    /// What it was seen to ask for by the server that it came from.
    requests: Vec<String>,
    /// Texts that would be there only if a script had run.
    scripts: u64,
}

/// Shows the page in a frame, since a window can't be as narrow as a phone.
const FRAME: &str = r#"<!DOCTYPE html><link rel="icon" href="data:,">
<iframe id="frame" src="/page" style="width:360px;height:800px;border:0"></iframe>
<pre id="seen"></pre>
<script>
onload = () => {
  const shown = document.getElementById("frame");
  const page = shown.contentDocument;
  page.querySelectorAll("details").forEach(details => details.open = true);
  const figures = [...page.querySelectorAll("[data-figure]")];
  const seen = {
    figures: figures.map(one => [one.dataset.figure, one.dataset.value ?? null, one.textContent]),
    width: page.documentElement.scrollWidth,
    resources: shown.contentWindow.performance.getEntriesByType("resource").map(one => one.name),
    scripts: page.scripts.length,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(seen));
  document.getElementById("seen").textContent = "seen:" + btoa(String.fromCharCode(...bytes)) + ":";
};
</script>
"#;

/// Gives whoever asks the frame or the page, and notes what was asked for.
fn publish(page: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (page, asked) = (Arc::new(page), Arc::clone(&requests));
    // Both end with the program.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (page, asked) = (Arc::clone(&page), Arc::clone(&asked));
            // Browsers open connections that they don't use.
            thread::spawn(move || answer(stream, &page, &asked));
        }
    });
    (address, requests)
}

fn answer(mut stream: TcpStream, page: &str, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let path = request.split(' ').nth(1)?.to_owned();
    let body = match path.as_str() {
        "/" => FRAME,
        "/page" => page,
        _ => "",
    };
    asked.lock().ok()?.push(path);
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes()).ok()
}

#[track_caller]
fn see(page: String) -> Seen {
    let (address, requests) = publish(page);
    let profile = tempfile::tempdir().expect("a directory");
    let output = Command::new("timeout")
        .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .output()
        .expect("chromium runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let seen = dom.split(">seen:").nth(1).and_then(|rest| rest.split(':').next());
    let seen = seen.unwrap_or_else(|| panic!("nothing was seen: {dom}\n{said}"));
    let seen: Value =
        serde_json::from_slice(&STANDARD.decode(seen).expect("Base64")).expect("JSON");
    let texts = |value: &Value| -> Vec<Value> { value.as_array().cloned().unwrap_or_default() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let figure = |one: &Value| {
        let value = one[1].as_str().map(|value| value.parse().expect("a number"));
        (text(&one[0]), value, text(&one[2]))
    };
    Seen {
        figures: texts(&seen["figures"]).iter().map(figure).collect(),
        width: seen["width"].as_u64().expect("a width"),
        resources: texts(&seen["resources"]).iter().map(text).collect(),
        requests: requests.lock().expect("nobody panics with it").clone(),
        scripts: seen["scripts"].as_u64().expect("a count"),
    }
}

impl Seen {
    /// Every figure is the one that the results have under its name, and the ones that matter most
    /// are there.
    #[track_caller]
    fn expect_figures_of(&self, results: &Value) {
        for (name, value, text) in &self.figures {
            let mut found = results;
            for part in name.split('.') {
                found = &found[part];
            }
            assert_eq!(*value, found.as_f64(), "{name}: {text}");
            let missing = name.contains("_us.p") && value.is_none();
            assert_eq!(text.starts_with("needs "), missing, "{name}: {text}");
        }
        let names = ["min", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "max", "samples"];
        let kinds = ["latency_us", "service_us", "connect_us"];
        // What was not timed has no table.
        let kinds = kinds.into_iter().filter(|kind| results[kind]["samples"] != 0);
        let times = kinds.flat_map(|kind| names.map(|name| format!("{kind}.{name}")));
        let counts = ["messages", "seconds", "rate", "asked_rate", "bytes_sent", "unanswered"];
        for name in times.chain(counts.map(str::to_owned)) {
            assert!(self.figures.iter().any(|figure| figure.0 == name), "{name} is not there");
        }
    }

    #[track_caller]
    fn expect_on_a_phone_and_alone(&self) {
        assert_eq!(self.width, 360, "the page is to be scrolled sideways");
        assert_eq!(self.resources, [""; 0]);
        assert_eq!(self.requests, ["/", "/page"]);
        assert_eq!(self.scripts, 0);
    }
}

#[test]
fn a_browser_shows_the_figures_of_the_results_and_asks_nobody_for_anything() {
    if skip_unless("a_browser_shows_the_figures_of_the_results", CHROMIUM) {
        return;
    }
    let files = Files::new();
    let (json, page) = (files.name("a.json"), files.name("a.html"));
    bench(&["-r", "500", "--json", &json, "--report", &page]);
    let seen = see(files.text("a.html"));
    seen.expect_figures_of(&files.json("a.json"));
    seen.expect_on_a_phone_and_alone();
}

#[test]
fn a_page_beside_a_baseline_fits_on_a_phone_and_its_texts_stay_texts() {
    if skip_unless("a_page_beside_a_baseline_fits_on_a_phone", CHROMIUM) {
        return;
    }
    let files = Files::new();
    let (json, page, bad) = (files.name("a.json"), files.name("a.html"), files.name("bad.json"));
    bench(&["-r", "500", "--repeat", "3", "--json", &json]);
    let hostile = r#"</style></title><script src="/x">1</script><img src="/y" onerror="z()">"#;
    let mut results = files.json("a.json");
    for place in ["/machine/host", "/target/asked", "/options/command/1", "/started", "/edgeloop"] {
        *results.pointer_mut(place).expect(place) = format!("{hostile}{}", "x".repeat(500)).into();
    }
    // Runs that differ as much as can be have the widest noise.
    results["repeats"][0]["latency_us"]["p50"] = 1e9.into();
    results["repeats"][1]["started"] = hostile.into();
    results["errors"] = serde_json::json!({ hostile: 3 });
    results["verify"]["findings"] = serde_json::json!([hostile]);
    files.write("bad.json", &results.to_string());
    let ended = report(&[&bad, "--baseline", &json, "-o", &page]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let seen = see(files.text("a.html"));
    seen.expect_on_a_phone_and_alone();
    let page = files.text("a.html");
    assert!(
        page.contains("data-difference=\"latency_us.p90\" data-value=\"0\" data-noise="),
        "{page}"
    );
    assert!(page.contains("<small>unbounded</small>"), "{page}");
}

#[test]
fn runs_that_were_made_at_once_are_merged() {
    let files = Files::new();
    let names = ["a.json", "b.json", "sum.json", "again.json"].map(|name| files.name(name));
    let [a, b, sum, again] = &names;
    thread::scope(|scope| {
        scope.spawn(|| bench(&["-r", "500", "--json", a]));
        scope.spawn(|| bench(&["-r", "700", "--json", b]));
    });
    // On a machine with much else to do they may begin far apart.
    let (mut late, early) = (files.json("b.json"), files.json("a.json"));
    late["measured_from"] = early["measured_from"].clone();
    files.write("b.json", &late.to_string());
    let ended = report(&[a, b, "--json", sum, "-o", "-"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("<!DOCTYPE html>") && ended.stdout.contains("Merged from"));
    let (one, two, both) = (files.json("a.json"), files.json("b.json"), files.json("sum.json"));
    [&one, &two, &both].into_iter().for_each(valid::expect_valid);
    for figure in ["messages", "rate", "asked_rate", "bytes_sent", "connections_alive"] {
        let sum = one[figure].as_f64().expect(figure) + two[figure].as_f64().expect(figure);
        assert_eq!(both[figure].as_f64(), Some(sum), "{figure}");
    }
    let samples = |results: &Value| results["latency_us"]["samples"].as_u64().expect("samples");
    assert_eq!(samples(&both), samples(&one) + samples(&two));
    assert_eq!(both["options"]["connections"], 8);
    // What was merged is a run like any other, and a file alone stays what it is.
    assert_eq!(report(&[sum, "--json", again]).code, Some(0));
    assert_eq!(files.text("sum.json"), files.text("again.json"));
}

#[test]
fn files_that_hold_no_run_and_runs_that_do_not_fit_are_refused_in_a_line() {
    let files = Files::new();
    let names = ["a.json", "bad.json", "a.html"].map(|name| files.name(name));
    let [good, bad, page] = &names;
    bench(&["--json", good]);
    expect_refused(&[&files.name("none.json"), "-o", page], &["none.json", "No such file"]);
    files.write("bad.json", "latency: 3\n");
    expect_refused(&[bad, "-o", page], &["bad.json", "is not JSON"]);
    files.write("bad.json", "{\"schema\": 7}");
    expect_refused(&[bad, "-o", page], &["bad.json", "schema 7"]);
    files.write("bad.json", &files.text("a.json").replace("\"messages\": ", "\"n\": "));
    expect_refused(&[bad, "-o", page], &["bad.json", "missing field `messages`"]);
    expect_refused(&[good, "--baseline", bad, "-o", page], &["bad.json", "missing field"]);
    let mut other = files.json("a.json");
    other["options"]["size"] = 65.into();
    files.write("bad.json", &other.to_string());
    expect_refused(&[good, bad, "--force", "-o", page], &["would be counted twice"]);
    expect_refused(&[good, good, "-o", page], &["a.json and", "would be counted twice"]);
    other["id"] = "another".into();
    files.write("bad.json", &other.to_string());
    expect_refused(&[good, bad, "-o", page], &["a.json", "bad.json", "size, 64 and 65"]);
    assert!(!Path::new(page).exists(), "a page of nothing was begun");
    assert_eq!(report(&[good, bad, "--force", "-o", page]).code, Some(0));
    other["options"]["size"] = 64.into();
    other["measured_from"] = "2026-01-01T00:00:00Z".into();
    files.write("bad.json", &other.to_string());
    expect_refused(&[good, bad, "-o", page], &["did not measure at the same time", "--force"]);
    expect_refused(&[good], &["--output"]);
    expect_refused(&[good, "-o", good], &["overwrite what is read"]);
    expect_refused(&[good, "-o", "/nowhere/a.html"], &["cannot write /nowhere/a.html"]);
    expect_refused(&["-", "-", "-o", page], &["only once"]);
}

#[test]
fn a_run_is_not_made_in_vain() {
    let files = Files::new();
    // Nobody listens there; it is not even tried.
    let wrong = [
        (vec!["--report", "/nowhere/a.html"], "cannot write /nowhere/a.html"),
        (vec!["--report", "/dev/null", "--baseline", "/nowhere/a.json"], "cannot read /nowhere"),
        (vec!["--baseline", "/nowhere/a.json"], "cannot read /nowhere/a.json"),
        (vec!["--report", "/dev/null", "--csv", "/dev/null"], "--csv and --report are the same"),
        (vec!["--report", "-"], "--report cannot be -"),
    ];
    for (options, words) in wrong {
        let ended = edgeloop(&["bench", "1", "--json", &files.name("a.json")]).args(&options).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}
