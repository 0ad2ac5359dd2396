//! Whole command lines, with an environment.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};

use super::expect_line;
use crate::args::{self, Command, Parsed};
use crate::bench::args::BenchArgs;
use crate::bench::config::BenchConfig;
use crate::exit::{Exit, Failure};
use crate::serve;
use crate::serve::config::ServeConfig;
use crate::variables;

/// Lines are arguments, and those that begin with `EDGELOOP_` and hold a `=` are the environment:
/// every command line is either refused in one line, or describes a loop that can be made.
pub fn arguments(data: &[u8]) {
    let mut environment = HashMap::new();
    let mut strays = Vec::new();
    let mut arguments = vec![OsString::from("edgeloop")];
    for line in data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let text = OsString::from_vec(line.to_vec());
        match text.to_str().and_then(|text| text.split_once('=')) {
            Some((name, value)) if name.starts_with("EDGELOOP_") => {
                strays.push((OsString::from(name), OsString::from(value)));
                environment.insert(name.to_owned(), OsString::from(value));
            }
            _ => arguments.push(text),
        }
    }
    for warning in variables::strays(strays, &serve::args::variables()) {
        expect_line(&warning);
    }
    let serve = match args::parse(arguments) {
        Ok(Parsed::Run(Command::Serve(serve))) => serve,
        Ok(Parsed::Run(Command::Bench(bench))) => return expect_run(&bench),
        // They have nothing but files, which are not looked at here.
        Ok(Parsed::Run(Command::Report(_) | Command::Generate(_))) => return,
        Ok(Parsed::Print(help)) => {
            assert!(!help.render().to_string().is_empty());
            return;
        }
        Err(failure) => return expect_usage(&failure),
    };
    match ServeConfig::resolve(serve, &|name| environment.get(name).cloned()) {
        Ok(config) => {
            assert!(!config.addresses.is_empty(), "it would listen nowhere");
            let made = EventLoop::with_config(Nobody, config.event_loop.clone());
            let made = made.unwrap_or_else(|error| panic!("{config:?}: {error}"));
            assert!(config.max_connections.is_none_or(|asked| made.max_connections() <= asked));
        }
        Err(failure) => expect_usage(&failure),
    }
}

/// A run is shared out to its threads to the last connection, if it can be meant at all.
fn expect_run(args: &BenchArgs) {
    let config = match BenchConfig::resolve(args) {
        Ok(config) => config,
        Err(failure) => return expect_usage(&failure),
    };
    let plan = &config.plan;
    assert!(plan.active >= 1 && plan.active <= plan.connections && plan.size >= 1);
    assert!(plan.pipeline >= 1, "nothing could be sent");
    assert!(plan.extent.duration.is_some() || plan.extent.messages.is_some(), "it has no end");
    // Each part holds what is known of the whole.
    if plan.threads <= 64 {
        let shares = plan.shares();
        let connections: usize = shares.iter().map(|share| share.connections).sum();
        assert_eq!(connections, plan.connections);
        assert!(shares.iter().all(|share| share.active >= 1));
    }
}

#[track_caller]
fn expect_usage(failure: &Failure) {
    assert_eq!(failure.exit, Exit::Usage);
    expect_line(&failure.line);
}

/// Serves nobody.
struct Nobody;

impl Handler for Nobody {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        None
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        Action::Reset
    }
}
