//! The arguments of `edgeloop generate`, as they were typed.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// The arguments of `edgeloop generate`, which no help and no completion shows.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct GenerateArgs {
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is made.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Write the man pages to a directory, and create it if it is missing
    #[command(display_name = "edgeloop")]
    Man {
        /// Such as /usr/local/share/man/man1
        #[arg(value_name = "DIR")]
        directory: OsString,
    },
    /// Print the completions of a shell
    #[command(display_name = "edgeloop")]
    Completions {
        /// bash, zsh or fish
        #[arg(value_name = "SHELL")]
        shell: OsString,
    },
}
