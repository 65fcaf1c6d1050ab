#!/usr/bin/env bash
# Builds the programs for the Raspberry Pi and runs one of them under emulation.
#
#   cross/build.sh [aarch64]         64-bit Raspberry Pi OS, bookworm or later
#
# Uses rustup's target where it can be fetched; otherwise Debian's rustc-web, unpacked into a
# folder of its own and not installed (it conflicts with an installed rustc). Needs Debian 12 and
# the right to install packages.
set -euo pipefail

arch=${1:-aarch64}
[ "$arch" = aarch64 ] || { echo "error: no such architecture: $arch (try: aarch64)" >&2; exit 64; }
target=aarch64-unknown-linux-gnu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=${XDG_CACHE_HOME:-$HOME/.cache}/cardio-ci/cross-$arch

# Small batches: a very large one can lose its cached packages on the way.
install() {
  apt-get install -y -qq --no-install-recommends "$@"
}

packages() {
  dpkg --add-architecture arm64
  apt-get update -qq
  install gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  install qemu-user-static
}

# Debian's compiler with the target's standard library, without installing either.
unpack_rustc() {
  [ -x "$prefix/usr/bin/rustc" ] && return
  local work
  work=$(mktemp -d)
  (
    cd "$work"
    apt-get download rustc-web libstd-rust-web-dev:amd64 libstd-rust-web-dev:arm64
    # Its own libraries by name: the compiler's run time, then the LLVM which that needs.
    local before=0
    while [ "$before" -ne "$(ls | wc -l)" ]; do
      before=$(ls | wc -l)
      for name in $(for file in *_amd64.deb; do dpkg-deb -f "$file" Depends; done |
        grep -oE '(libstd-rust-web-[0-9.]+|libllvm[0-9]+)' | sort -u); do
        compgen -G "${name}_*.deb" >/dev/null || apt-get download "$name:amd64"
      done
    done
    mkdir -p "$prefix"
    for file in *.deb; do dpkg -x "$file" "$prefix"; done
  )
  rm -rf "$work"
}

packages
if command -v rustup >/dev/null && rustup target add "$target" 2>/dev/null; then
  echo "using rustup's $target"
else
  unpack_rustc
  export LD_LIBRARY_PATH=$prefix/usr/lib/x86_64-linux-gnu RUSTC=$prefix/usr/bin/rustc
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"

cd "$root"
cargo build --release --locked --target "$target" -p cardio-agent -p cardio-gateway --bins
out=${CARGO_TARGET_DIR:-target}/$target/release
ls -l "$out/cardio-agent" "$out/cardio-gateway"
qemu-aarch64-static -L /usr/aarch64-linux-gnu "$out/cardio-agent" --version
