#!/bin/sh
# check_install.sh <repository> <build folder>: installs into a scratch folder, then builds and runs
# a program against what is there, in each of the documented ways.
set -eu
source=$1
build=$2
work=$build/install-check
rm -rf "$work"
mkdir -p "$work/consumer"

cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"

cat >"$work/consumer/main.c" <<'END'
#include <stdio.h>

#include <hpx/base.h>

int main(void)
{
    puts(hpx_status_name(HPX_OK));
    return 0;
}
END
cat >"$work/consumer/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(hpx REQUIRED)
foreach(kind hpx hpx_static hpx_shared)
    add_executable(with_${kind} main.c)
    target_link_libraries(with_${kind} PRIVATE hpx::${kind})
endforeach()
END

export PKG_CONFIG_PATH="$source/.deps/prefix/lib/pkgconfig:${PKG_CONFIG_PATH:-}"
cmake -G Ninja -S "$work/consumer" -B "$work/consumer/build" \
    -DCMAKE_PREFIX_PATH="$work/prefix;$source/.deps/prefix" \
    ${CFLAGS:+-DCMAKE_C_FLAGS="$CFLAGS"} >"$work/configure.log"
cmake --build "$work/consumer/build" >"$work/build.log" || {
    cat "$work/build.log"
    exit 1
}
for kind in hpx hpx_static hpx_shared; do
    "$work/consumer/build/with_$kind"
done

libdir=$(dirname "$(find "$work/prefix" -name hpx.pc)")
export PKG_CONFIG_PATH="$libdir:$PKG_CONFIG_PATH"
# The .pc file names the prefix of the configuration; pkg-config moves it along.
flags=$(pkg-config --define-prefix --cflags --libs hpx)
# shellcheck disable=SC2086 # the flags are words
cc "$work/consumer/main.c" $flags -Wl,-rpath,"$libdir/.." -o "$work/with_pkg_config"
"$work/with_pkg_config"
