# Shared by the judges: packages that others wrote, installed by name and version into a folder
# outside the tree. Sourced, not run.

# need TOOL...: ends with "skipped" when one is not installed.
need() {
  local tool
  for tool in "$@"; do
    if ! command -v "$tool" >/dev/null; then
      echo "skipped: $tool is not installed"
      exit 75
    fi
  done
}

# folder PATH: sets `cache` to the folder, or to a temporary one that goes with the script.
folder() {
  cache=$1
  if [ -z "$cache" ]; then
    cache=$(mktemp -d)
    trap 'rm -rf "$cache"' EXIT
  fi
  mkdir -p "$cache"
}

# once WHAT LIST COMMAND...: installs a list once per folder; ends with "skipped" when it cannot
# be had.
once() {
  local what=$1 list=$2 stamp
  shift 2
  stamp=$cache/installed-$(printf '%s\n' "$list" | cksum | cut -d' ' -f1)
  [ -e "$stamp" ] && return
  if ! "$@" >"$cache/install.log" 2>&1; then
    tail -n 5 "$cache/install.log"
    echo "skipped: $what could not be installed from the package registry"
    exit 75
  fi
  : >"$stamp"
}

# modules NAME@VERSION...: packages of npm; their install scripts are not run.
modules() {
  npm install --prefix "$cache" --no-save --no-audit --no-fund --ignore-scripts \
    --loglevel=error "$@"
}
