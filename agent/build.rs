//! Notes when the program is built: no certificate that it meets ended before that.

#![expect(
    clippy::disallowed_methods,
    reason = "a build has no clock of the product to ask"
)]

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let built_s = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs()).to_string()
    });
    println!("cargo::rustc-env=CARDIO_BUILT_S={built_s}");
}
