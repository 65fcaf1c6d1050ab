#!/bin/sh
# Holds every reader and writer of cardio-formats against programs that others wrote, and
# compares what it finds with the table in schemas/formats/README.md.
#
# usage: CARDIO_DATA=DIR hw-test/judges/formats.sh [--table | --speed]
#
#   --table   writes the table instead of comparing it
#   --speed   prints times beside those of others instead
#
# Needs python3 with venv, pip that can install packages, cargo, `dciodvfy` (dicom3tools),
# `save2gdf` (biosig-tools), `sox`, `dcmdump` (dcmtk). Judges that no package holds join in where
# CARDIO_JUDGES_BUILT names the folder in which formats-from-source.sh has built them.
# Exit status: 0 all equal, 1 something differs, 2 a need is missing.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
venv=${CARDIO_JUDGES_VENV:-$target/judges/formats-venv}

if [ -z "${CARDIO_DATA:-}" ] || [ ! -d "$CARDIO_DATA" ]; then
    echo "formats: CARDIO_DATA does not name a folder of recordings" >&2
    exit 2
fi
CARDIO_DATA=$(CDPATH='' cd -- "$CARDIO_DATA" && pwd)
export CARDIO_DATA

if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv" || exit 2
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$root/schemas/formats/tests/judges/requirements.txt" || exit 2

profile=debug
flags=
if [ "${1:-}" = --speed ]; then
    profile=release
    flags=--release
fi
# shellcheck disable=SC2086
cargo build --quiet --manifest-path "$root/Cargo.toml" -p cardio-formats --examples $flags
CARDIO_FORMATS_DUMP=$target/$profile/examples/dump
CARDIO_FORMATS_CONVERT=$target/$profile/examples/convert
CARDIO_FORMATS_CLOCK=$target/$profile/examples/clock
export CARDIO_FORMATS_DUMP CARDIO_FORMATS_CONVERT CARDIO_FORMATS_CLOCK

cd "$root/schemas/formats/tests/judges"
if [ "$profile" = release ]; then
    exec "$venv/bin/python" speed.py
fi
case ${1:-} in
    --table) exec "$venv/bin/python" judge.py "$root/schemas/formats/README.md" ;;
    *) exec "$venv/bin/python" judge.py "$root/schemas/formats/README.md" --check ;;
esac
