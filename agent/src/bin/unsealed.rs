//! A box that also keeps every record unsealed: the proof that the search of a stolen card
//! would find one. Never installed; the feature that it needs cannot be built for release.

fn main() -> std::process::ExitCode {
    cardio_agent::cli::main()
}
