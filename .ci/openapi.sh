#!/usr/bin/env bash
# The OpenAPI document is one: a validator takes it, and a generator makes a client of it that Python can read.
set -euo pipefail
cd "$(dirname "$0")/.."

document=src/admin/openapi.json
tools=target/openapi
if [ ! -x "$tools/bin/openapi-python-client" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet openapi-spec-validator openapi-python-client ruff
fi
"$tools/bin/openapi-spec-validator" "$document"
# Lines of JSON are text to this generator.
echo 'content_type_overrides: {application/x-ndjson: text/plain}' > "$tools/config.yml"
PATH="$PWD/$tools/bin:$PATH" openapi-python-client generate --config "$tools/config.yml" --path "$document" --output-path "$tools/client" --overwrite --fail-on-warning
"$tools/bin/python" -m compileall -q "$tools/client"
operations=$("$tools/bin/python" -c "import json,sys; print(sum(len(how) for how in json.load(open(sys.argv[1]))['paths'].values()))" "$document")
generated=$(find "$tools/client" -path '*/api/*' -name '*.py' ! -name '__init__.py' | wc -l)
echo "$generated of $operations operations generated"
[ "$generated" = "$operations" ]
