//! Writes one of each resource into a folder, for validators that read files.
//!
//! `cargo run -p cardio-fhir --example one_of_each -- DIR`
#![expect(clippy::unwrap_used, reason = "the samples of the tests")]

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let wrong_usage = || std::io::Error::other("one argument is expected: the folder");
    let dir = std::env::args_os().nth(1).ok_or_else(wrong_usage)?;
    std::fs::create_dir_all(&dir)?;
    for (name, resource) in samples::all() {
        let path = std::path::Path::new(&dir).join(format!("{name}.json"));
        std::fs::write(path, format!("{resource:#}\n"))?;
    }
    Ok(())
}
