//! Compares what edgeloop costs with its peers, and writes down what it came to.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod binary;
mod interrupt;
mod failure;
mod process;
mod place;
mod scratch;
mod ours;
mod recorded;
mod servers;
mod args;
mod shapes;
mod client;
mod counts;
mod statistics;
mod pair;
mod show;
mod services;
mod examples;
mod turns;
mod latency;
mod overload;
mod results;
mod targets;
mod plan;
mod transports;
mod draw;
mod gate;
mod whole;

use std::process::ExitCode;
use std::time::Duration;

use args::{Command, CommandLine, PairArgs};
use clap::Parser as _;
use clap::error::ErrorKind;
use failure::Failure;
use pair::Settings;
use peers::{Place, Service, Transport};
use results::Results;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return refuse(&error),
    };
    match run(line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure { code, line }) => {
            eprintln!("comparisons: {line}");
            ExitCode::from(code)
        }
    }
}

/// Prints the help, or what is wrong with the command line, in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Whoever reads may have seen enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let essence = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let essence: Vec<_> = essence.split_whitespace().collect();
    eprintln!("comparisons: {}; see --help", essence.join(" "));
    ExitCode::from(2)
}

/// Does what was asked for. Returns whether it came to what it should.
fn run(line: CommandLine) -> Result<bool, Failure> {
    match line.command {
        Some(Command::Server { name, service, read_buffer, place }) => {
            serve(&name, service, read_buffer, &place.unwrap_or_default())?;
            return Ok(true);
        }
        Some(Command::Beside { upstream }) => match examples::serve(upstream)? {},
        Some(Command::Launch { core, program }) => match place::launch(core, &program)? {},
        Some(Command::Hold { server, connections }) => {
            client::hold(&server, connections)?;
            return Ok(true);
        }
        _ => interrupt::install()?,
    }
    match line.command {
        Some(Command::Pair(arguments)) => compare(&arguments),
        Some(Command::Counts(arguments)) => whole::counts(&arguments),
        Some(Command::Latency(arguments)) => whole::latency(&arguments),
        Some(Command::Overload(arguments)) => whole::overload(&arguments),
        Some(Command::Services(arguments)) => {
            let edgeloop = binary::edgeloop().map_err(|error| Failure::usage(error.to_string()))?;
            servers::prepare([])?;
            services::compare(&arguments, &edgeloop)
        }
        Some(Command::Unix(arguments)) => whole::over(Transport::Unix, &arguments),
        Some(Command::Udp(arguments)) => whole::over(Transport::Udp, &arguments),
        Some(Command::Examples(arguments)) => whole::examples(&arguments),
        Some(Command::Gate) => {
            let edgeloop = servers::find(servers::EDGELOOP)?;
            servers::prepare([edgeloop])?;
            gate::run(&edgeloop)
        }
        Some(Command::Draw(arguments)) => {
            let results = Results::read(&arguments.from).map_err(|error| error.to_string())?;
            draw::write(&results, arguments.markdown.as_ref(), arguments.report.as_ref())?;
            if let Some(path) = &arguments.servers {
                draw::write_servers(&results, path)?;
            }
            let sections = [(Transport::Unix, &arguments.unix), (Transport::Udp, &arguments.udp)];
            for (transport, path) in sections {
                if let Some(path) = path {
                    draw::write_over(transport, &results, path)?;
                }
            }
            let files = [&arguments.markdown, &arguments.report, &arguments.servers];
            let sections = sections.map(|(_, path)| path);
            if files.into_iter().chain(sections).all(Option::is_none) {
                show::print(&draw::text(&results))?;
            }
            Ok(true)
        }
        Some(Command::List) => {
            show::print(&list())?;
            Ok(true)
        }
        _ => whole::run(&line.all),
    }
}

fn serve(name: &str, service: Service, read_buffer: usize, place: &Place) -> std::io::Result<()> {
    if name == ours::NAME {
        ours::serve(service, read_buffer, place)
    } else {
        peers::serve(name, service, read_buffer, place)
    }
}

/// Measures one pair.
fn compare(arguments: &PairArgs) -> Result<bool, Failure> {
    let pair = plan::pair(&arguments.of, &arguments.against, &arguments.shape)?;
    draw::check_writable(&[arguments.json.as_ref()])?;
    let settings = Settings {
        cycles: arguments.cycles,
        time: None,
        slice: arguments.slice.map(Duration::from_millis),
        read_buffer: arguments.read_buffer,
    };
    servers::prepare([pair.of.server, pair.against.server])?;
    let bar = show::progress(settings.cycles.into());
    let measured = pair::measure(&pair, &settings, &mut |attempt, cycle| {
        bar.set_message(format!("run {attempt}"));
        bar.set_position(cycle.into());
    });
    bar.finish_and_clear();
    let measured = measured?;
    show::print(&show::pair(&measured))?;
    if let Some(path) = &arguments.json {
        let mut results = Results::new();
        results.take_pair(measured.clone());
        results.write(path)?;
    }
    Ok(measured.valid_ratio().is_some())
}

/// The servers and the shapes, for who wants to name some.
fn list() -> String {
    let mut servers =
        vec![vec!["server".to_owned(), "version".to_owned(), "what it is".to_owned()]];
    for server in servers::all() {
        let about = match server.left_out() {
            Some(reason) => format!("left out: {reason}"),
            None => server.about().to_owned(),
        };
        servers.push(vec![server.name().to_owned(), server.version().to_owned(), about]);
    }
    let mut shapes = vec![vec!["shape".to_owned(), "what it is".to_owned()]];
    shapes.extend(
        shapes::SHAPES.iter().map(|shape| vec![shape.name.to_owned(), shape.about.to_owned()]),
    );
    format!("{}\n{}", show::table_left(&servers), show::table_left(&shapes))
}
