//! What the README shows of the library compiles, and prints what the README says that it prints.
//!
//! Each block of Rust in the README stands in a file beside this one, word for word.

/// The README that is packaged with the library.
const README: &str = include_str!("../../README.md");

/// What stands in the README's fences of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("\n```{language}\n");
    let fences = README.split(&begin).skip(1);
    fences.map(|rest| rest.split_once("\n```\n").expect("the end of a fence").0).collect()
}

#[test]
fn every_block_of_rust_is_compiled() {
    let mut compiled = [include_str!("echo.rs"), include_str!("lengths.rs")].into_iter();
    for block in blocks("rust") {
        // The test in it is to fail, and is called below.
        let block = block.replace("#[test]\n", "");
        let file = compiled.next().expect("a file for each block");
        assert_eq!(file.trim_end(), block, "a block of the README, and its file in tests/readme");
    }
    assert_eq!(compiled.next(), None, "a file that the README does not show");
}

#[expect(dead_code, reason = "it is compiled, and would serve for ever")]
mod echo {
    include!("echo.rs");
}

mod lengths {
    include!("lengths.rs");

    /// A line `...` in the README stands for others.
    #[test]
    fn its_failure_is_the_one_that_is_shown() {
        if std::env::var_os("EDGELOOP_SEEDS").is_some() {
            return;
        }
        // Named as the test that a reader would have, for the command in the last line.
        let test = std::thread::Builder::new().name("tests::lengths".to_owned()).spawn(lengths);
        let failed = test.expect("a thread").join().expect_err("the bug is found");
        let failure = failed.downcast::<String>().expect("a text");
        // Cargo names the package; without it, the command does not.
        let failure = failure.replace("cargo test tests::", "cargo test -p edgeloop tests::");
        let shown = super::blocks("text").into_iter().find(|block| block.starts_with("seed "));
        let mut rest = failure.as_str();
        for part in shown.expect("a failure in the README").split("\n...\n") {
            let found = rest.split_once(part);
            rest = found.unwrap_or_else(|| panic!("{part:?} is not in its place in\n{failure}")).1;
        }
    }
}
