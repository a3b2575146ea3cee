FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY crates ./crates
# A member of the workspace, so that the manifests and the lock file are whole; it is not built.
COPY bench ./bench
RUN cargo build --profile dist --locked

FROM debian:bookworm-slim
# The solver: without it, a sidecar that enforces guardrails does not start.
RUN apt-get update && apt-get install -y --no-install-recommends cvc5 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --no-create-home --uid 10001 mandate
COPY --from=build /src/target/dist/mandate /usr/local/bin/mandate
COPY policies /etc/mandate/policies
COPY entities /etc/mandate/entities
USER 10001
ENV MANDATE_POLICIES=/etc/mandate/policies MANDATE_ENTITIES=/etc/mandate/entities MANDATE_GUARDRAILS=enforce MANDATE_LOG_FORMAT=json
ENTRYPOINT ["mandate"]
CMD ["serve"]
