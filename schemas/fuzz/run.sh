#!/usr/bin/env bash
# Feeds hostile bytes to every reader of bytes: the targets of this folder under libFuzzer.
#
#   schemas/fuzz/run.sh 5s             every target for 5 seconds
#   schemas/fuzz/run.sh 1000000        every target a million times
#   schemas/fuzz/run.sh 60s mqtt enrol only these; formats/edf is one format
#
# Needs a C++ compiler. The stable compiler can be told to watch which branches are reached. A
# finding is left under artifacts/, with the command to repeat it.
#
#   CARDIO_DATA   folder of real recordings: seeds of the formats that we only read
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
amount=${1:-5s}
shift || true
case $amount in
  *s) stop=(-max_total_time="${amount%s}") ;;
  *) stop=(-runs="$amount") ;;
esac

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:+$CARGO_TARGET_DIR/fuzz}
export CARGO_TARGET_DIR=${target_dir:-$here/target} CARGO_INCREMENTAL=0
# Hostile bytes are fed to what ships: the versions are those of the workspace, to which cargo adds
# what only the fuzzer needs.
cp ../../Cargo.lock Cargo.lock
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="$coverage --cfg fuzzing" \
  cargo build --quiet --release --bins --target "$host"
bin=$CARGO_TARGET_DIR/$host/release
"$bin/seeds"

corpora=("$@")
if [ ${#corpora[@]} -eq 0 ]; then
  mapfile -t corpora < <(cd corpus && ls -d envelope cbor record message topic enrol mqtt serial gatt fetch capture formats/*)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for corpus in "${corpora[@]}"; do
  target=${corpus%%/*}
  mkdir -p "artifacts/$corpus"
  if ! nice "$bin/$target" "corpus/$corpus" "${stop[@]}" -rss_limit_mb=1024 -max_len=8192 \
    -timeout=10 -print_final_stats=1 -artifact_prefix="artifacts/$corpus/" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzz  $corpus: a finding under $here/artifacts/$corpus; repeat: $bin/$target FILE"
    exit 1
  fi
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  printf 'fuzz  %-26s %9s runs, %6s a second, %6s branches, %4s MiB at most\n' "$corpus" \
    "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$edges" "$(stat peak_rss_mb)"
done
