# The recipe for a machine that Debian has packages for: they are unpacked, not installed, so that the machine that builds
# gets no foreign architecture. $debian is what Debian calls the machine.
# shellcheck shell=sh disable=SC2034,SC2154

# GoogleTest for those who want to run the unit tests of such a machine; fakeroot is a program of such a machine that nobody
# here wrote, for tests/cluster.
unpacked_packages="libcapnp-dev libuv1-dev libssl-dev libgtest-dev libgmock-dev fakeroot"
versions_of="libcapnp-dev libuv1-dev libssl-dev libgtest-dev"

make_libraries() {
  step "$log" "fetching Debian's packages for $debian" fetch_packages
  step "$log" "unpacking" unpack_packages
}

fetch_packages() {
  mkdir "$work/download"
  : >"$work/status"
  private_apt_options="-o APT::Architecture=$debian -o APT::Architectures=$debian -o Dir::State::status=$work/status
    -o Acquire::Languages=none"
  private_apt_update deb "arch=$debian"
  # shellcheck disable=SC2086
  (cd "$work/download" && private_apt all apt-get download $unpacked_packages)
}

# Headers that differ between machines lie in a folder of their own there; here is one machine, and one folder. The
# shared libraries are links to what other packages have.
unpack_packages() {
  for file in "$work"/download/*.deb; do
    dpkg -x "$file" "$work/unpacked" || return 1
  done
  multiarch=$(cd "$work/unpacked/usr/lib" && echo *-linux-*)
  cp -R "$work/unpacked/usr/include" "$work/unpacked/usr/lib" "$work/unpacked/usr/bin" "$prefix" &&
    cp -R "$prefix/include/$multiarch/." "$prefix/include" &&
    rm -r "$prefix/include/$multiarch" "$prefix/lib/$multiarch/pkgconfig" &&
    find "$prefix/lib" -name '*.so' -exec rm {} + &&
    mv "$prefix/lib/$multiarch/libuv_a.a" "$prefix/lib/$multiarch/libuv.a"
}
