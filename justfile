# Everything that has to hold before a commit.
check: fmt clippy test doc deny

fmt:
    cargo fmt --check

clippy:
    cargo clippy --all-targets --locked -- -D warnings

test:
    cargo test --locked

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences, duplicate and unknown sources; needs cargo-deny.
deny:
    cargo deny check licenses bans sources

# The pack's scenarios against a sidecar of their own.
scenarios:
    cargo build --locked
    MANDATE=target/debug/mandate examples/scenarios.sh
