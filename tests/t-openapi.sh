#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# t-openapi - tools that are not ours accept docs/openapi.json, every answer of a running hauld by
# it, and its metrics.
. "$(dirname "$0")/lib.sh"
. "$top/tests/page/lab.sh"
if python3 -c 'import openapi_spec_validator' 2>/dev/null; then
	python3 -m openapi_spec_validator "$top/docs/openapi.json" || fail "docs/openapi.json is no OpenAPI document"
else
	npx --yes -p @seriousme/openapi-schema-validator@2 validate-api "$top/docs/openapi.json" || fail "docs/openapi.json is no OpenAPI document"
fi
api_options=()
api_up
start A "$work/writer" --mib 48 --rate 2000
"$lab" run A /usr/bin/python3 "$top/tests/api/contract.py" "$pid" "$top/docs/openapi.json" || fail "hauld does not keep to its document"
gone A
verify B
stop B
