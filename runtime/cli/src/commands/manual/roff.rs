//! Manual pages: those of `clap_mangen`, with examples and tables set as they are written.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::sections;

/// The file of a command's page, as in `rustkernel-call.1`.
pub(super) fn file_name(command: &Command) -> String {
    Man::new(command.clone()).get_filename()
}

/// A command's page.
pub(super) fn page(command: &Command) -> String {
    // (What follows the flags is set below: clap_mangen would fill its lines.)
    let version = concat!("rustkernel ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().after_help(None)).source(version).manual("RustKernel");
    let mut page = Vec::new();
    man.render(&mut page).expect("invariant: a vector takes whatever is written");
    String::from_utf8_lossy(&page).into_owned() + &rest(command)
}

fn rest(command: &Command) -> String {
    let mut roff = Roff::new();
    for (heading, text) in sections(command) {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        roff.control("nf", []);
        text.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        roff.control("fi", []);
    }
    roff.to_roff()
}
