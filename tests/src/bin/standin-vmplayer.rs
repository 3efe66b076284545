//! A stand-in for VMware Player's `vmplayer`, for tests on machines without VMware. It is not VMware: see
//! `livepc_tests::standin` for what it does, and what real VMware may do differently. It shows no window.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    match &std::env::args().skip(1).collect::<Vec<_>>()[..] {
        [option] if option == "-v" => {
            println!("VMware Player 17.5.0 build-22583795");
            ExitCode::SUCCESS
        }
        [vmx] => match livepc_tests::standin::vmplayer(std::path::Path::new(vmx)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("Error: {why}");
                ExitCode::from(255)
            }
        },
        _ => ExitCode::from(255),
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("Error: this stand-in is for Unix");
    ExitCode::from(255)
}
