#!/usr/bin/env bash
# A partner asks a customer for consent, the customer accepts, and the partner registers a device: with curl.
#
#   examples/consent.sh              starts a sidecar on a new store
#   MANDATE=path examples/…          uses that program instead of building one
#
# Exits with 1 if an answer is not the expected one.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${MANDATE:-}" ]; then
  cargo build --quiet --release --manifest-path "$root/Cargo.toml"
  MANDATE=$root/target/release/mandate
fi

work=$(mktemp -d)
"$MANDATE" serve --policies "$root/policies" --entities "$root/entities" --store "$work/entities.redb" --demo-sign-in \
  --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --pages-listen 127.0.0.1:0 --shutdown-delay 0s \
  >"$work/out" 2>"$work/log" &
sidecar=$!
trap 'kill "$sidecar" 2>/dev/null; wait "$sidecar" 2>/dev/null; rm -rf "$work"' EXIT
until grep -q '^decisions on ' "$work/out"; do
  kill -0 "$sidecar" || { cat "$work/log"; exit 1; }
  sleep 0.05
done
url=$(sed -n 's/^decisions on //p' "$work/out")

# post PATH BODY WHAT-TO-EXPECT: prints the answer, and keeps it in $answer.
post() {
  answer=$(curl -s "$url$1" -H 'Content-Type: application/json' -d "$2")
  printf '%s\n  %s\n' "POST $1" "${answer:0:200}"
  grep -q "$3" <<<"$answer" || { printf '  EXPECTED %s\n' "$3"; exit 1; }
}

partner='"subject": {"type": "DirectBillPartner", "id": "fabrikam"}'
customer='"resource": {"type": "Customer", "id": "relecloud"}'
register="{$partner, \"action\": {\"name\": \"registerDevice\"}, $customer, \"context\": {\"channel\": \"partner-center-api\"}}"
administrator='{"subject": {"type": "TenantUser", "id": "admin@relecloud"}}'

echo '— Fabrikam may not register devices for Relecloud.'
post /access/v1/evaluation "$register" '"decision":false'

echo '— It asks for consent, and sends the link to the customer.'
post /links/v1 "{$partner, $customer, \"context\": {\"delegatedAdministration\": true}}" '"status":"pending"'
link=$(sed 's/.*"link":"\([^"]*\)".*/\1/' <<<"$answer")
echo "  review: $(sed 's/.*"review":"\([^"]*\)".*/\1/' <<<"$answer")"

echo '— The administrator of another customer cannot accept.'
post "/links/v1/$link/accept" '{"subject": {"type": "TenantUser", "id": "admin@contoso"}}' '"decision":false'

echo '— The administrator of Relecloud accepts: it counts at once.'
post "/links/v1/$link/accept" "$administrator" '"status":"approved"'
consent=$(sed 's/.*"created":{"type":"[^"]*","id":"\([^"]*\)"}.*/\1/' <<<"$answer")
post /access/v1/evaluation "$register" '"decision":true'

echo '— Delegated administration is removed; the relationship stays.'
post /links/v1/manage "{\"subject\": {\"type\": \"TenantUser\", \"id\": \"admin@relecloud\"},
  \"resource\": {\"type\": \"CspConsent\", \"id\": \"$consent\"}, \"do\": \"remove-administration\"}" '"decision":true'
post /access/v1/evaluation "$register" '"decision":true'

echo '— Fabrikam ends the relationship.'
post /links/v1/manage "{$partner, \"resource\": {\"type\": \"CspConsent\", \"id\": \"$consent\"}, \"do\": \"end\"}" '"decision":true'
post /access/v1/evaluation "$register" '"decision":false'
