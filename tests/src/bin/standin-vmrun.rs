//! A stand-in for VMware's `vmrun`, for tests on machines without VMware. It is not VMware: see `livepc_tests::standin` for
//! what it does, and what real VMware may do differently.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        println!(
            "\nvmrun version 1.17.0 build-22583795\n\nUsage: vmrun [AUTHENTICATION-FLAGS] COMMAND [PARAMETERS]"
        );
        return ExitCode::from(255);
    }
    match livepc_tests::standin::vmrun(&arguments) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("Error: {why}");
            ExitCode::from(255)
        }
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    println!("Error: this stand-in is for Unix");
    ExitCode::from(255)
}
