//! `cardio-agent`: the box's program. The verbs are in `cardio_agent::cli`.

fn main() -> std::process::ExitCode {
    cardio_agent::cli::main()
}
