# The recipe for a machine that Debian has no packages for: the libraries are built from Debian's source packages.
# $openssl_options is what OpenSSL's Configure calls the machine.
# shellcheck shell=sh disable=SC2034,SC2154

versions_of="libuv1-dev libssl-dev libcapnp-dev googletest"
flags="-O2 -fPIC"

make_libraries() {
  mkdir "$prefix/lib" "$prefix/include"
  step "$log" "source package lists" private_apt_update deb-src
  step "$log" "source of libuv" fetch libuv1 libuv1-dev
  step "$log" "source of OpenSSL" fetch openssl libssl-dev
  step "$log" "source of Cap'n Proto" fetch capnproto libcapnp-dev
  step "$log" "libuv" build_libuv
  step "$log" "Cap'n Proto" build_capnproto
  step "$log" "GoogleTest" build_googletest
  step "$log" "OpenSSL" build_openssl
  # CMake's package files of GoogleTest find themselves, but OpenSSL's .pc files name the folder they were built in.
  rm -rf "$prefix/lib/pkgconfig"
}

# fetch SOURCE BINARY: puts the files of source package SOURCE into the cache, in the version that the installed
# package BINARY was built from, else in any other, newest first. A version can be listed in several repositories and
# be gone from the mirror of one, so each is asked.
fetch() {
  source=$1
  wanted=$(dpkg-query -W -f '${source:Version}' "$2")
  others=$(private_apt all apt-cache showsrc "$source" | sed -n 's/^Version: //p' | sort -rV -u)
  for version in $wanted $others; do
    folder=$cache/sources/${source}_$version
    if [ ! -d "$folder" ]; then
      mkdir -p "$cache/sources"
      download_source "$source" "$version" "$folder" || continue
    fi
    ln -s "$folder" "$work/$source"
    return 0
  done
  return 1
}

download_source() {
  for one in "$work"/apt/[0-9]*; do
    rm -rf "$work/download"
    mkdir "$work/download"
    if (cd "$work/download" && private_apt "${one##*/}" apt-get source --download-only "$1=$2") &&
      ls "$work"/download/*.dsc; then
      mv "$work/download" "$3"
      return 0
    fi
  done
  printf 'version %s of %s is not to be had, trying the next\n' "$2" "$1"
  return 1
}

unpack() { dpkg-source --no-check -x "$work/$1"/*.dsc "$work/src-$1"; }

cross_cmake() {
  source=$1 build=$2
  shift 2
  cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
    "-DCMAKE_SYSTEM_PROCESSOR=$target" "-DCMAKE_C_COMPILER=$triplet-gcc" "-DCMAKE_CXX_COMPILER=$triplet-g++" \
    "-DCMAKE_C_FLAGS_RELEASE=$flags -DNDEBUG" "-DCMAKE_CXX_FLAGS_RELEASE=$flags -DNDEBUG" \
    -DCMAKE_FIND_ROOT_PATH="$prefix;/usr/$triplet" -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER \
    -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY \
    -DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=ONLY -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTING=OFF "$@"
}

build_libuv() {
  unpack libuv1 &&
    cross_cmake "$work/src-libuv1" "$work/build-libuv" -DLIBUV_BUILD_TESTS=OFF &&
    ninja -j "$jobs" -C "$work/build-libuv" uv_a &&
    cp "$work/build-libuv/libuv_a.a" "$prefix/lib/libuv.a" &&
    cp -R "$work/src-libuv1/include/." "$prefix/include/"
}

build_openssl() {
  unpack openssl &&
    (
      cd "$work/src-openssl" || exit
      # shellcheck disable=SC2086
      ./Configure $openssl_options "--cross-compile-prefix=$triplet-" "--prefix=$prefix" --libdir=lib \
        --openssldir=/etc/ssl no-shared no-tests no-asm no-legacy no-engine no-dso $flags &&
        make -j "$jobs" build_libs &&
        make install_dev
    )
}

# Cap'n Proto's libraries only: its compiler is the host's.
build_capnproto() {
  unpack capnproto &&
    cross_cmake "$work/src-capnproto" "$work/build-capnproto" -DEXTERNAL_CAPNP=ON -DWITH_OPENSSL=OFF \
      "-DCMAKE_CXX_STANDARD_LIBRARIES=-latomic" &&
    ninja -j "$jobs" -C "$work/build-capnproto" src/kj/libkj.a src/capnp/libcapnp.a &&
    cp "$work/build-capnproto/src/kj/libkj.a" "$work/build-capnproto/src/capnp/libcapnp.a" "$prefix/lib/" &&
    (cd "$work/src-capnproto/src" && find kj capnp -name '*.h' -print | tar -c -T - | tar -x -C "$prefix/include")
}

build_googletest() {
  cross_cmake /usr/src/googletest "$work/build-googletest" -DBUILD_GMOCK=ON -DINSTALL_GTEST=ON &&
    ninja -j "$jobs" -C "$work/build-googletest" install
}
