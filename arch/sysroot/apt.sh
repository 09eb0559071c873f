# An apt of our own: what is installed here, its sources, its lists and its architectures stay as they are. Sourced by the
# recipes; $work is their temporary folder.
# shellcheck shell=sh disable=SC2154

# The first argument chooses among the sources: all, or the number of one.
private_apt() {
  chosen=$1 program=$2
  shift 2
  # shellcheck disable=SC2086
  "$program" -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/apt/$chosen" \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root \
    $private_apt_options "$@"
}
private_apt_options=

# private_apt_update TYPE [OPTION]: the lists of the user's sources, as entries of that type: deb-src, or deb with
# arch=ARCHITECTURE.
private_apt_update() {
  mkdir -p "$work/apt/all" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  option=${2:-}
  [ ! -r "$keyring" ] || option="$option signed-by=$keyring"
  option=${option# }
  [ -z "$option" ] || option="[$option] "
  # Only Debian's own archive; a repository whose lists are not here yet has no origin to tell. These $(...) are apt's.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n -e 's/^Debian|//p' -e 's/^|//p' -e 's/^$(ORIGIN)|//p' | sort -u >"$work/apt/entries"
  number=0
  while read -r entry; do
    number=$((number + 1))
    mkdir "$work/apt/$number"
    printf '%s %s%s\n' "$1" "$option" "$entry" | tee "$work/apt/$number/one.list" >>"$work/apt/all/all.list"
  done <"$work/apt/entries"
  # One broken repository does not matter if the others have what we need; whoever fetches finds out.
  private_apt all apt-get update || true
}
