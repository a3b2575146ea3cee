#!/usr/bin/env bash
# Walks through the pack's scenarios against a running sidecar, edits of consents included.
#
#   examples/scenarios.sh            starts a sidecar on a copy of the sample store
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
cp -r "$root/policies" "$root/entities" "$work"
"$MANDATE" serve --policies "$work/policies" --entities "$work/entities" \
  --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --shutdown-delay 0s >"$work/out" 2>"$work/log" &
sidecar=$!
trap 'kill "$sidecar" 2>/dev/null; wait "$sidecar" 2>/dev/null; rm -rf "$work"' EXIT
until grep -q '^decisions on ' "$work/out"; do
  kill -0 "$sidecar" || { cat "$work/log"; exit 1; }
  sleep 0.05
done
url=$(sed -n 's/^decisions on //p' "$work/out")
admin=$(sed -n 's/^admin on //p' "$work/out")
failed=0

# ask WHAT EXPECTED SUBJECT_TYPE SUBJECT ACTION RESOURCE_TYPE RESOURCE CONTEXT
ask() {
  local answer decision
  answer=$(curl -s "$url/access/v1/evaluation" -H 'Content-Type: application/json' -d "{
    \"subject\": {\"type\": \"$3\", \"id\": \"$4\"}, \"action\": {\"name\": \"$5\"},
    \"resource\": {\"type\": \"$6\", \"id\": \"$7\"}, \"context\": $8}")
  case $answer in
    '{"decision":true'*) decision=permit ;;
    '{"decision":false'*) decision=deny ;;
    *) decision="no answer: $answer" ;;
  esac
  printf '%-6s %s\n' "$decision" "$1"
  if [ "$decision" = deny ]; then
    printf '       %s\n' "$(sed -n 's/.*"reason_user":{"en":"\([^"]*\)".*/\1/p' <<<"$answer")"
  fi
  if [ "$decision" != "$2" ]; then
    printf '       EXPECTED %s\n' "$2"
    failed=1
  fi
}

register() { ask "$1" "$2" "$3" "$4" registerDevice Customer "$5" "{\"channel\": \"$6\"}"; }

# Replaces text in an entity file and waits until the sidecar has taken the change.
edit() {
  local before
  before=$(curl -s "$admin/status" | grep '"revision"')
  sed -i "$2" "$work/entities/$1"
  while [ "$(curl -s "$admin/status" | grep '"revision"')" = "$before" ]; do sleep 0.02; done
}

api=partner-center-api ui=partner-center-ui
echo "— registering"
register '1  Fabrikam for Contoso, API' permit DirectBillPartner fabrikam contoso $api
register '2  Tailspin for Northwind, UI' permit IndirectReseller tailspin northwind $ui
register '3  Tailspin for Northwind, API' deny IndirectReseller tailspin northwind $api
register '4  Wingtip for Northwind, API' permit IndirectProvider wingtip northwind $api
register '4  Wingtip for Northwind, UI' permit IndirectProvider wingtip northwind $ui
register '5  Proseware for Northwind, API, through Litware' permit IndirectProvider proseware northwind $api
register '6  Proseware for Relecloud, API' deny IndirectProvider proseware relecloud $api
register "9  Adventure Works' direct-bill enrolment for Margie's, API" permit DirectBillPartner adventure-works margies-travel $api
register "9  Adventure Works' reseller enrolment for Margie's, UI" deny IndirectReseller adventure-works margies-travel $ui
register "9  Wingtip for Margie's, API" deny IndirectProvider wingtip margies-travel $api
register '10 Trey for Contoso, OEM API' permit Oem trey contoso oem-api

echo "— consents"
ask '11 Trey requests consent with delegated administration' deny \
  Oem trey requestConsent Customer contoso '{"delegatedAdministration": true}'
ask "12 a Contoso Intune administrator accepts Fabrikam's consent" deny \
  TenantUser intune@contoso acceptConsent CspConsent contoso--fabrikam '{}'
ask "13 a Contoso Global Administrator ends Trey's consent" deny \
  TenantUser admin@contoso revokeConsent OemConsent contoso--trey '{}'
ask "13 a Microsoft operator ends Trey's consent" permit \
  MicrosoftOperator msoemops revokeConsent OemConsent contoso--trey '{}'

echo "— 8  the partnership Wingtip-Tailspin ends; the consent hangs on Tailspin alone"
consent='northwind--wingtip--tailspin'
edit consents.json "/\"id\": \"$consent\"/s/\"parents\": \[[^]]*\]/\"parents\": [{\"type\": \"Autopilot::IndirectReseller\", \"id\": \"tailspin\"}]/"
register '8  Wingtip for Northwind, API' deny IndirectProvider wingtip northwind $api
register '8  Tailspin for Northwind, UI' permit IndirectReseller tailspin northwind $ui

echo "— 7  Northwind's consent to Tailspin ends"
edit customers.json "s/{\"type\": \"Autopilot::CspConsent\", \"id\": \"$consent\"}, //"
register '7  Wingtip for Northwind, API' deny IndirectProvider wingtip northwind $api
register '7  Tailspin for Northwind, UI' deny IndirectReseller tailspin northwind $ui
register '7  Proseware for Northwind, API' permit IndirectProvider proseware northwind $api

exit $failed
