#!/usr/bin/env bash
# The pages in a real browser, with a real identity provider.
#
#   tests/browser/run.sh             builds the program
#   MANDATE=path tests/browser/…     uses that program instead of building one
#   tests/browser/run.sh WORD…       runs the files of tests/ whose names have one of these words
#
# Needs node 18 or newer with npm, chromium and chromedriver. Screenshots are in target/browser/screenshots. Exits with 1
# if something fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
if [ -z "${MANDATE:-}" ]; then
  cargo build --quiet --manifest-path "$root/Cargo.toml"
  MANDATE=$target/debug/mandate
fi
MANDATE=$(realpath "$MANDATE")
CHROMIUM=$(command -v chromium)
CHROMEDRIVER=$(command -v chromedriver)

# The packages are installed outside of the checkout, and again when the list of them has changed.
out=$target/browser
mkdir -p "$out"
if ! cmp -s "$here/package-lock.json" "$out/installed-lock.json"; then
  cp "$here/package.json" "$here/package-lock.json" "$out"
  npm ci --prefix "$out" --no-audit --no-fund --loglevel=error
  cp "$here/package-lock.json" "$out/installed-lock.json"
fi
rm -rf "$out/screenshots"
export MANDATE CHROMIUM CHROMEDRIVER BROWSER_OUT=$out BROWSER_PACKAGES=$out
exec node "$here/main.mjs" "$@"
