//! The benchmarks behind `cargo xtask bench`: LivePC beside what else could do the job, in one run, on the same input.
//!
//! `livepc-bench stream IMAGE.raw [--mbit 20,100,1000] [--runs 5] [--only LivePC]` starts a machine over lines of several
//! speeds, in every way there is, and prints how long it took to its login prompt and what was fetched until then.
//! `LIVEPC_BIN` names the program that is measured.
//!
//! `livepc-bench demand [--mbit 20,100]` measures how long a machine waits for a page while the rest of its disk is fetched,
//! beside the same on an idle line.
//!
//! `livepc-bench reads [--runs 5]` reads a disk of which all is here, over NBD and as a file.
//!
//! They take root and Linux: lines and servers are in network namespaces.

#[cfg(target_os = "linux")]
mod demand;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod reads;
#[cfg(target_os = "linux")]
mod stream;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("stream") => stream::run(&stream::Options::parse(&args[1..])?),
        Some("demand") => demand::run(&args[1..]),
        Some("reads") => reads::run(&args[1..]),
        _ => anyhow::bail!("which suite? There are: stream, demand, reads"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The benchmarks run on Linux only.");
}
