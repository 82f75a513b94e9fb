# Short tasks for developers. `just` lists them.

_default:
    @just --list --unsorted

# Run the main job on a simulated site
[group('run')]
demo:
    scripts/demo

# All checks and tests without services
[group('test')]
test:
    scripts/test

# Tests whose names contain TEXT, of all parts
[group('test')]
filter TEXT:
    cargo test --workspace {{ TEXT }}

# Tests of one part: just part scaling
[group('test')]
part NAME:
    cargo test -p ehos-{{ NAME }}

# Tests on the real HTCondor and OpenStack of the testbed (root)
[group('test')]
site:
    scripts/test --site

# New random histories on all cores
[group('test')]
histories COUNT='10000':
    EHOS_HISTORIES={{ COUNT }} cargo test --profile histories --test histories random::whatever

# Formatting and lints
[group('check')]
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# Licenses, bans and sources of dependencies
[group('check')]
deny:
    cargo deny --locked --log-level warn check licenses bans sources

# Spelling (cargo install typos-cli)
[group('check')]
typos:
    typos

# Benchmarks
[group('check')]
bench:
    scripts/bench

# Renew golden files, key reference and snapshots after a change that is meant
[group('renew')]
bless:
    EHOS_BLESS=1 INSTA_UPDATE=always cargo test --workspace
    scripts/plans renew
