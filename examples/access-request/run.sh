#!/usr/bin/env bash
# A partner registers a device for a customer that has not consented yet: the gateway starts the access request, the
# customer's administrator accepts, and the registration goes through.
#
#   examples/access-request/run.sh         builds Mandate, and starts it with everything else on free ports
#   MANDATE=path examples/…/run.sh         uses that program
#
# Everything that it starts ends with it. Exits with 1 if an answer is not the expected one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ -z "${MANDATE:-}" ]; then
  cargo build --quiet --release --manifest-path "$root/Cargo.toml"
  MANDATE=$root/target/release/mandate
fi

work=$(mktemp -d)
started=()
end() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap end EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_listening() { until curl -s -o /dev/null "http://127.0.0.1:$1/"; do sleep 0.05; done; }

: >"$work/out"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/keys.pem" 2>/dev/null
printf 'gateway %s\nportal %s\n' gateway-0123456789abcdef portal-0123456789abcdef0 >"$work/tokens"
"$MANDATE" serve --policies "$root/policies" --entities "$root/entities" --store "$work/entities.redb" --guardrails off \
  --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --shutdown-delay 0s --tokens "$work/tokens" \
  --request-callers gateway --signing-keys "$work/keys.pem" \
  --change-callers portal --pages-url https://consent.example.com >"$work/out" 2>"$work/log" &
started+=($!)
until grep -q '^decisions on ' "$work/out"; do
  kill -0 "${started[0]}" || { cat "$work/log"; exit 1; }
  sleep 0.05
done
mandate=$(sed -n 's/^decisions on //p' "$work/out")

service=$(free_port)
python3 "$here/registration.py" "$service" &
started+=($!)
until_listening "$service"
gateway=$(free_port)
python3 "$here/gateway.py" "$gateway" "http://127.0.0.1:$service" "$mandate" gateway-0123456789abcdef "$here/gateway.json" &
started+=($!)
until_listening "$gateway"

# ask EXPECTED_STATUS KEY METHOD PATH [BODY]: prints and keeps the answer.
ask() {
  local status
  status=$(curl -s -o "$work/answer" -w '%{http_code}' -X "$3" "http://127.0.0.1:$gateway$4" \
    -H "Authorization: Bearer $2" ${5:+-d "$5"})
  printf '%s %s\n  %s %s\n' "$3" "$4" "$status" "$(cat "$work/answer")"
  [ "$status" = "$1" ] || { echo "expected $1"; exit 1; }
}
member() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/answer" "$1"; }

echo 'The partner registers a device for Relecloud, which has not consented. The gateway starts to ask:'
ask 202 key-of-the-api POST /customers/relecloud/devices '{"device": "PC-1"}'
follow=$(member follow)
grep -q send_this "$work/answer" && { echo 'the client must not get the link'; exit 1; }

echo 'The back office gets the link for the customer:'
ask 202 key-of-the-office GET "$follow"
link=$(member send_this_to_the_customer)

echo 'An administrator of Relecloud accepts, on the pages or in a portal:'
curl -s -o "$work/accepted" "$mandate/links/v1/${link##*/}/accept" -H 'Content-Type: application/json' \
  -H 'Authorization: Bearer portal-0123456789abcdef0' -d '{"subject": {"type": "TenantUser", "id": "admin@relecloud"}}'
grep -q '"status":"approved"' "$work/accepted" || { cat "$work/accepted"; exit 1; }

echo 'The gateway finds out, asks Mandate again, and performs the registration that waited:'
for _ in $(seq 100); do
  curl -s -o "$work/answer" -w '%{http_code}' "http://127.0.0.1:$gateway$follow" -H 'Authorization: Bearer key-of-the-api' \
    | grep -q 202 || break
  sleep 0.1
done
ask 201 key-of-the-api GET "$follow"

echo 'From now on, registrations go straight through:'
ask 201 key-of-the-api POST /customers/relecloud/devices '{"device": "PC-2"}'
echo 'done'
