# Everything that has to hold before a commit.
check: fmt clippy pack test doc deny

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

test:
    cargo test --locked

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences, duplicate and unknown sources; needs cargo-deny.
deny:
    cargo deny check licenses bans sources

# The pack as its users would hold theirs.
pack:
    cargo build --locked
    target/debug/mandate fmt --check
    target/debug/mandate check
    target/debug/mandate lint
    target/debug/mandate test --min 100 --mutate
    target/debug/mandate prove

# The pack's scenarios against a sidecar of their own.
scenarios:
    cargo build --locked
    MANDATE=target/debug/mandate examples/scenarios.sh

# The engine in process: decisions, gathering, changes, loading.
bench *ARGS:
    cargo bench --locked -p mandate-bench --profile dist -- {{ARGS}}

# The sidecar beside the limit, over HTTP: `--quick` to see that it works, `--write` to keep the results.
bench-http *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench http {{ARGS}}

# Another binary beside this one and the limit: `just bench-compare OLD`, or `just bench-compare OLD NEW`.
bench-compare OLD *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench compare {{OLD}} {{ARGS}}

# Instructions of single operations beside their budgets; needs valgrind. `--write` writes the budgets.
instructions *ARGS:
    cargo build --locked --release --workspace
    target/release/mandate-bench instructions {{ARGS}}

# Other servers that are installed, with the same questions.
bench-peers *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench peers {{ARGS}}
