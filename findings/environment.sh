# Sourced by every finding. It prints the finding's head; `install` fills a temporary environment with packages, and `run` runs the
# program on its standard input there. FINDINGS_ENV=FOLDER keeps the environment for the next finding.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
findings=$(cd "$(dirname "$0")" && pwd)
environment=${FINDINGS_ENV:-$place/env}
sed -n '2,/^[^#]/s/^# //p' "$0"

install() {
    [ -x "$environment/bin/python" ] || python3 -m venv "$environment"
    "$environment/bin/python" -m pip install --quiet --no-compile "$@"
}

run() {
    cat > "$place/run.py"
    echo "Now:"
    PYTHONPATH=$findings PYTHONDONTWRITEBYTECODE=1 "$environment/bin/python" -W ignore "$place/run.py"
}
