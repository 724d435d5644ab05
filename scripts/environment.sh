# Sourced by the scripts here: where things are, which preset fits this machine, and steps that say what they do.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/build/venv
mkdir -p build

# CuTe's headers and C++20 in device code need this nvcc or a later one.
oldest_cuda=12.4

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# "release" where the CUDA part can be built, else "host".
preset() {
  local version
  if command -v nvcc >/dev/null; then
    version=$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
    if [ "$(printf '%s\n' "$oldest_cuda" "$version" | sort -V | head -n 1)" = "$oldest_cuda" ]; then
      echo release
      return
    fi
    say "nvcc $version is older than $oldest_cuda: building without the CUDA part"
  fi
  echo host
}

# Compilers at once: one a core, and 2 GB of memory for each.
jobs() {
  local by_memory
  by_memory=$(awk '/MemAvailable/ { print int($2 / 2e6) }' /proc/meminfo)
  local count
  count=$(nproc)
  [ "$by_memory" -ge "$count" ] || count=$by_memory
  [ "$count" -ge 1 ] || count=1
  echo "$count"
}

# step "what it does" COMMAND...: says it, runs it with its output in build/setup.log, says for how long. On
# failure shows the end of that output.
step() {
  local what=$1 log=$root/build/setup.log start=$SECONDS
  shift
  printf '==> %s ... ' "$what" >&2
  printf '\n==> %s\n' "$*" >>"$log"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    say "failed after $((SECONDS - start)) s; the end of $log:"
    tail -n 30 "$log" >&2
    exit 1
  fi
  say "$((SECONDS - start)) s"
}

# visible "what it does" COMMAND...: the same, with the output shown.
visible() {
  local what=$1 start=$SECONDS status=0
  shift
  say "==> $what"
  "$@" || status=$?
  [ "$status" -eq 0 ] || die "$what: failed after $((SECONDS - start)) s"
  say "==> $what: $((SECONDS - start)) s"
}

# build PRESET TARGET...: configures where that was not done (afterwards Ninja does it by itself), and builds.
build() {
  local name=$1
  shift
  if [ ! -f "build/$name/build.ninja" ]; then
    step "Configuring build/$name" cmake --preset "$name"
  fi
  # What is up to date costs a tenth of a second and says nothing.
  if ninja -C "build/$name" -n "$@" | grep -q 'no work to do'; then return; fi
  # On a terminal Ninja shows what it does on one line; elsewhere only what fails.
  local quiet=()
  [ -t 2 ] || quiet=(--quiet)
  visible "Building $* in build/$name, $(jobs) at a time" \
    env NINJA_STATUS='[%f/%t, %es] ' ninja -C "build/$name" -j "$(jobs)" "${quiet[@]}" "$@" >&2
}

# run_tests PRESET: only what does not pass, and the closing lines.
run_tests() { ctest --preset "$1" -j "$(jobs)" | grep -vE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ Test .* Passed )'; }
