# All checks that have to pass before a commit.
check: fmt clippy pack test doc deny

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

test:
    cargo test --locked

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Checks the licenses, the sources and the known vulnerabilities of all dependencies; needs cargo-deny, and the
# network for the advisories. `just deny --offline` uses those that were fetched before.
deny *ARGS:
    cargo deny {{ARGS}} check

# Checks the pack with the commands that its users run on their own policies.
pack:
    cargo build --locked
    target/debug/mandate fmt --check
    target/debug/mandate check
    target/debug/mandate lint
    target/debug/mandate test --min 100 --mutate
    target/debug/mandate prove

# Starts a sidecar and runs the pack's scenarios against it.
scenarios:
    cargo build --locked
    MANDATE=target/debug/mandate examples/scenarios.sh

# Measures the engine in process: deciding, gathering, applying a change, and loading.
bench *ARGS:
    cargo bench --locked -p mandate-bench --profile dist -- {{ARGS}}

# Compares the sidecar with the limit. `--quick` only shows that everything works; `--write` keeps the results.
bench-http *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench http {{ARGS}}

# Compares an older binary with this one, or with NEW: `just bench-compare OLD [NEW]`.
bench-compare OLD *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench compare {{OLD}} {{ARGS}}

# Counts the instructions of single operations and checks their budgets; needs valgrind. `--write` writes new budgets.
instructions *ARGS:
    cargo build --locked --release --workspace
    target/release/mandate-bench instructions {{ARGS}}

# Compares Mandate with other authorization servers that are installed.
bench-peers *ARGS:
    cargo build --locked --profile dist
    cargo build --locked --profile dist -p mandate-bench
    target/dist/mandate-bench peers {{ARGS}}
