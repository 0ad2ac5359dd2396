//! The memory that a report takes: of a run of a day, and of files that claim to be larger than any
//! run.

mod serve;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use serve::{edgeloop, serve};
use tempfile::TempDir;
use testkit::{Ended, within};

/// The results of a short run, for files that are like it but for what is wrong.
struct Template {
    directory: TempDir,
    results: Value,
}

impl Template {
    fn new() -> Self {
        let server = serve(&[]);
        let address = server.address().to_string();
        let common = ["bench", &address, "-q", "-c", "2", "--warmup", "0", "-n", "200"];
        let ended = edgeloop(&common).args(&["--json", "-"]).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let results = serde_json::from_str(&ended.stdout).expect("results");
        Self { directory: tempfile::tempdir().expect("a directory"), results }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// The report of this file, and the most memory that it took.
    #[track_caller]
    fn report(&self, arguments: &[&str]) -> (Ended, usize) {
        let mut running = edgeloop(&["report"]).args(arguments).begin();
        let mut peak = 0;
        within(PATIENCE, "it ends", || {
            peak = running.process().peak().unwrap_or(0).max(peak);
            !running.is_running()
        });
        (running.end(), peak)
    }

    /// It is refused with these words in one line, and in little memory.
    #[track_caller]
    fn expect_refused(&self, words: &str) {
        let (ended, peak) = self.report(&[&self.name("bad.json"), "-o", &self.name("bad.html")]);
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.stderr.contains("bad.json") && ended.stderr.contains(words), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(peak < 64 << 20, "{words}: {peak} bytes");
    }

    #[track_caller]
    fn expect_value_refused(&self, pointer: &str, value: Value, words: &str) {
        let mut results = self.results.clone();
        *results.pointer_mut(pointer).expect(pointer) = value;
        fs::write(self.path("bad.json"), results.to_string()).expect("written");
        self.expect_refused(words);
    }
}

/// Sixty megabytes are read by a program that is not optimized.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

const DAY: u64 = 86_400;

#[test]
fn a_day_is_drawn_in_little_memory_and_its_page_is_small() {
    let template = Template::new();
    let bands: Vec<[u64; 2]> = (40..80).map(|band| [band, 1_000_000 + band]).collect();
    let mut interval = template.results["intervals"][0].clone();
    interval["bands"] = json!(bands);
    let second = interval["second"].take();
    assert_eq!(second, 0);
    let interval = interval.to_string();
    let mut intervals = String::new();
    for second in 0..DAY {
        let comma = if second > 0 { ",\n" } else { "" };
        let one = interval.replace("\"second\":null", &format!("\"second\":{second}"));
        let _ = write!(intervals, "{comma}{one}");
    }
    let mut results = template.results.clone();
    results["seconds"] = json!(DAY);
    results["intervals"] = "HERE".into();
    let text = results.to_string().replace("\"HERE\"", &format!("[{intervals}]"));
    assert!(text.len() > 50 << 20, "{}", text.len());
    fs::write(template.path("day.json"), text).expect("written");
    let names = ["day.json", "day.html", "again.json"].map(|name| template.name(name));
    let [day, page, again] = &names;
    let (ended, peak) = template.report(&[day, "-o", page, "--json", again]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(peak > 0 && peak < 300 << 20, "{peak} bytes");
    let length = fs::metadata(page).expect("a page").len();
    assert!(length < 3 << 20, "{length} bytes");
    assert!(fs::metadata(again).expect("the results").len() > 50 << 20);
}

/// A histogram as the results have it, of these bytes.
fn packed(plain: &[u8]) -> String {
    use std::io::Write as _;
    let mut bytes = vec![0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 0];
    let mut encoder = flate2::write::ZlibEncoder::new(&mut bytes, flate2::Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.try_finish()).expect("packed");
    drop(encoder);
    STANDARD.encode(bytes)
}

#[test]
fn a_file_that_claims_gigabytes_is_refused_without_taking_them() {
    let template = Template::new();
    // A file with a hole: it has no gigabyte on the disk.
    let file = File::create(template.path("bad.json")).expect("a file");
    file.set_len(5 << 30).expect("a hole");
    template.expect_refused("larger than 512 MiB");
    file.set_len(100 << 20).expect("a hole");
    template.expect_refused("is not JSON");
    let long = |length: usize, element: &str| {
        let list: String = std::iter::repeat_n(element, length).collect::<Vec<_>>().join(",");
        serde_json::from_str::<Value>(&format!("[{list}]")).expect("a list")
    };
    template.expect_value_refused("/intervals/0/bands", long(100_000, "[0,1]"), "more than 200");
    template.expect_value_refused(
        "/latency_us/lower_bounds",
        long(100_000, "\"\""),
        "more than 20",
    );
    template.expect_value_refused("/repeats", long(2000, "0"), "does not hold results");
    template.expect_value_refused("/schema", long(100_000, "[]"), "has no schema");
    let names: serde_json::Map<_, _> =
        (0..2000_u32).map(|name| (name.to_string(), json!(1))).collect();
    template.expect_value_refused("/errors", names.into(), "more than 1000 names");
    // 300 MB of zeros in 300 kB, and a header that claims the largest histogram of all.
    template.expect_value_refused(
        "/latency_us/histogram",
        packed(&vec![0; 300_000_000]).into(),
        "latency_us.histogram: it unpacks to more than 524288 bytes",
    );
    let header = [
        &[0x1c, 0x84, 0x93, 0x13, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 5][..],
        &1_u64.to_be_bytes(),
        &u64::MAX.to_be_bytes(),
        &1_f64.to_be_bytes(),
    ]
    .concat();
    let claims = "claims 4294967295 bytes of counts and has 0";
    template.expect_value_refused("/service_us/histogram", packed(&header).into(), claims);
    let mut honest = header;
    honest[4..8].fill(0);
    let claims = "from 1 to 18446744073709551615 ns with 5 figures";
    template.expect_value_refused("/connect_us/histogram", packed(&honest).into(), claims);
}

#[test]
fn an_endless_stream_that_is_no_json_is_left_at_its_beginning() {
    let template = Template::new();
    let (ended, peak) = template.report(&["/dev/zero", "-o", &template.name("a.html")]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("/dev/zero is not JSON"), "{}", ended.stderr);
    assert!(peak < 64 << 20, "{peak} bytes");
}
