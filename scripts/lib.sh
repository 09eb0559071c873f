# What the set-up scripts share. Sourced by POSIX sh; needs nothing that Debian's essential packages lack.
# shellcheck shell=sh disable=SC2034

cache=${DIPC_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dipc}
jobs=${JOBS:-$(nproc)}
# A make that calls us must not hand its job server to the makes of other people's projects.
unset MAKEFLAGS MFLAGS MAKELEVEL

say() { printf '%s\n' "$*"; }

die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# step LOG TEXT COMMAND...: runs a long command with its output in LOG; one line on the screen, with seconds.
step() {
  step_log=$1 step_text=$2
  shift 2
  printf '  %s ... ' "$step_text"
  step_start=$(date +%s)
  printf '==== %s\n' "$step_text" >>"$step_log"
  if "$@" >>"$step_log" 2>&1 </dev/null; then
    printf '%s s\n' "$(($(date +%s) - step_start))"
  else
    printf 'failed\n'
    tail -n 20 "$step_log" >&2
    die "'$step_text' failed; the whole log is $step_log"
  fi
}

# Two set-ups at once would build the same thing twice: the second waits, then finds it done.
take_lock() {
  mkdir -p "$cache/log" || die "can't write to the cache folder $cache (DIPC_CACHE names another)"
  exec 9>"$cache/lock"
  if ! flock -n 9; then
    say "Waiting for another set-up that uses $cache"
    flock 9
  fi
}
