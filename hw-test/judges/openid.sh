#!/usr/bin/env bash
# People and programs log in to a gateway through an OpenID provider that nobody here wrote; it
# changes its keys and dies.
#
# Provider: npm `oidc-provider`, installed by name into a folder outside the tree:
# CARDIO_OPENID_CACHE if it is set, else a temporary one.
#
# Exit: 0 all as it must be, 1 or 2 something is not, 75 skipped (no node, or no way to install).
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=hw-test/judges/install.sh
. "$here/install.sh"
packages=(oidc-provider@8.8.1)

need node npm
folder "${CARDIO_OPENID_CACHE:-}"
once "the provider" "${packages[*]}" modules "${packages[@]}"

cd "$here/../.." && cargo demo -- openid --judges "$here/openid" --installed "$cache"
