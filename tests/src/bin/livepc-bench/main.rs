//! The benchmarks behind `cargo xtask bench`: LivePC beside what else could do the job, in one run, on the same input.
//!
//! `livepc-bench stream IMAGE.raw [--mbit 20,100,1000] [--runs 5]` starts a machine over lines of several speeds, in every way
//! there is, and prints how long it took to its login prompt and what was fetched until then. `LIVEPC_BIN` names the program
//! that is measured. It takes root and Linux: lines and servers are in network namespaces.

#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod stream;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("stream") => stream::run(&stream::Options::parse(&args[1..])?),
        _ => anyhow::bail!("which suite? There is: stream"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The benchmarks run on Linux only.");
}
