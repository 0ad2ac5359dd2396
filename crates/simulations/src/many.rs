//! Many runs on all cores, with a progress bar.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How many violations end it: more would tell nothing new.
const ENOUGH: usize = 10;

/// What the runs of one thread, and then of all, come to.
pub(crate) trait Total: Default + Send {
    /// Adds what another thread has found.
    fn merge(&mut self, other: Self);
    /// One run violated something; this says what.
    fn violation(&mut self, what: String);
}

/// Calls `run` for each number, in no order. It answers what was violated, if anything was; so does
/// a panic. The first violations are told as they come.
///
/// # Errors
///
/// When a thread can't be started.
pub(crate) fn for_each<T: Total>(
    numbers: Range<u64>,
    run: impl Fn(u64, &mut T) -> Option<String> + Sync,
) -> Result<T, String> {
    let bar = ProgressBar::new(numbers.end - numbers.start);
    let style = ProgressStyle::with_template(
        "{bar:40} {pos}/{len}, {per_sec}, {elapsed} gone, {eta} to go{msg}",
    );
    bar.set_style(style.map_err(|error| error.to_string())?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let next = AtomicU64::new(numbers.start);
    let stop = AtomicBool::new(false);
    let found = Mutex::new((T::default(), BTreeMap::new()));
    let work = || {
        let mut total = T::default();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                break;
            }
            let answer = panic::catch_unwind(AssertUnwindSafe(|| run(number, &mut total)));
            bar.inc(1);
            let answer =
                answer.unwrap_or_else(|panic| Some(format!("{number}: {}\n", message(&*panic))));
            if let Some(what) = answer
                && let Ok(mut found) = found.lock()
            {
                found.1.insert(number, what);
                stop.store(found.1.len() >= ENOUGH, Ordering::Relaxed);
            }
        }
        if let Ok(mut found) = found.lock() {
            found.0.merge(total);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            thread::Builder::new()
                .spawn_scoped(scope, work)
                .map_err(|error| format!("a thread: {error}"))?;
        }
        Ok::<(), String>(())
    })?;
    bar.finish_and_clear();
    let (mut total, violations) = found.into_inner().map_err(|_| "a thread panicked".to_owned())?;
    violations.into_values().for_each(|what| total.violation(what));
    Ok(total)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", text.unwrap_or("of no known kind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Sum(u64, Vec<String>);

    impl Total for Sum {
        fn merge(&mut self, other: Self) {
            self.0 += other.0;
        }

        fn violation(&mut self, what: String) {
            self.1.push(what);
        }
    }

    #[test]
    fn each_number_is_run_once_and_a_panic_is_a_violation() {
        let sum = for_each(10..1010, |number, sum: &mut Sum| {
            sum.0 += number;
            assert_ne!(number, 500, "a number it does not like");
            (number == 12).then(|| "twelve".to_owned())
        });
        let sum = sum.expect("threads");
        assert_eq!(sum.0, (10..1010).sum::<u64>());
        assert_eq!(sum.1.len(), 2, "{:?}", sum.1);
        assert_eq!(sum.1[0], "twelve");
        assert!(sum.1[1].contains("a number it does not like"), "{:?}", sum.1);
    }
}
