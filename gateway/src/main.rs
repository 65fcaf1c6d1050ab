//! cardio-gateway: the receiving end of the telemonitoring boxes.

mod cli;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(cli::main())
}
