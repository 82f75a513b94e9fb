//! Help, versions, and command lines that are not understood.

use crate::harness::Site;

#[test]
fn help_and_version_go_to_standard_output() {
    let site = Site::simulated();
    site.run(&["--help"])
        .exits(0)
        .warns_nothing()
        .says("Usage: ehos <COMMAND>")
        .says("tick");
    site.run(&["tick", "--help"])
        .exits(0)
        .warns_nothing()
        .says("--dry-run")
        .says("$EHOS_CONFIG")
        .says("$STATE_DIRECTORY");
    site.run(&["--version"])
        .exits(0)
        .says(concat!("ehos ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_not_understood_is_told_and_nothing_is_done() {
    let site = Site::simulated();
    let none: [&str; 0] = [];
    site.run(&none).exits(2).warns("Usage: ehos");
    site.run(&["tok"])
        .exits(2)
        .warns("a similar subcommand exists: 'tick'");
    site.tick(&["--dry-rum"])
        .exits(2)
        .warns("a similar argument exists: '--dry-run'");
    site.tick(&["-o", "xml"])
        .exits(2)
        .warns("[possible values: text, json]");
    site.tick(&["now"])
        .exits(2)
        .warns("unexpected argument 'now'");
    assert_eq!(site.state_files(), None);
    assert_eq!(site.calls(), "");
}

#[test]
fn a_pipe_that_nobody_reads_loses_nothing() {
    let site = Site::simulated();
    let mut tick = site.start_tick(&[]);
    drop(tick.stdout.take());
    site.end(tick)
        .exits(1)
        .warns("the report cannot be printed");
    assert_eq!(site.remembered().len(), 1);
}
