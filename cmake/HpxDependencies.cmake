# Finds the libraries: those that tools/setup built in .deps/prefix first, then the system's.
# Sets HPX_DEPENDENCIES, the targets that the library links.

set(hpx_prefix ${PROJECT_SOURCE_DIR}/.deps/prefix)
set(ENV{PKG_CONFIG_PATH} "${hpx_prefix}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# hpx_find(<variable> <pkg-config name> <smallest version>): makes PkgConfig::<variable>.
macro(hpx_find variable name version_min)
    pkg_check_modules(${variable} IMPORTED_TARGET GLOBAL ${name}>=${version_min})
    if(NOT ${variable}_FOUND)
        message(
            FATAL_ERROR
                "hpx needs ${name} ${version_min} or later, and pkg-config finds none.\n"
                "Run tools/setup (Debian), or tools/setup --help for what it installs.")
    endif()
endmacro()

hpx_find(WOLFSSL wolfssl 5.5.4)
hpx_find(LIBURING liburing 2.9)
hpx_find(YYJSON yyjson 0.6)
hpx_find(CARES libcares 1.18)
hpx_find(ZLIB zlib 1.2)
hpx_find(NGHTTP2 libnghttp2 1.52)
# A static wolfSSL needs the mathematics library after it.
set_property(TARGET PkgConfig::WOLFSSL APPEND PROPERTY INTERFACE_LINK_LIBRARIES m)

# wolfSSL's options.h is the record of how it was configured.
find_file(hpx_wolfssl_options wolfssl/options.h
          HINTS ${WOLFSSL_INCLUDE_DIRS} ${WOLFSSL_INCLUDEDIR} NO_CACHE REQUIRED)
file(STRINGS ${hpx_wolfssl_options} wolfssl_options REGEX "^#define ")
if(wolfssl_options MATCHES "OPENSSL_COMPATIBLE_DEFAULTS")
    message(
        FATAL_ERROR
            "The wolfSSL found (${hpx_wolfssl_options}) has OPENSSL_COMPATIBLE_DEFAULTS: its "
            "clients verify no certificate unless told to. hpx refuses it. Run tools/setup, which "
            "builds one without, or configure wolfSSL with --disable-openssl-compatible-defaults.")
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64"
   AND NOT wolfssl_options MATCHES "WOLFSSL_AESNI.*USE_INTEL_SPEEDUP"
   AND NOT HPX_ALLOW_SLOW_TLS)
    message(
        FATAL_ERROR
            "The wolfSSL found (${hpx_wolfssl_options}) has no assembly (WOLFSSL_AESNI and "
            "USE_INTEL_SPEEDUP): TLS would be 10 to 30 times slower. Run tools/setup, or configure "
            "wolfSSL with --enable-intelasm, or accept it with -DHPX_ALLOW_SLOW_TLS=ON.")
endif()

# A limit on CONTINUATION frames is how a fixed nghttp2 is told from one with CVE-2024-28182: 1.61,
# and what distributions patched before it.
include(CheckSymbolExists)
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::NGHTTP2)
check_symbol_exists(
    nghttp2_option_set_max_continuations nghttp2/nghttp2.h HPX_NGHTTP2_LIMITS_CONTINUATIONS)
unset(CMAKE_REQUIRED_LIBRARIES)
if(NOT HPX_NGHTTP2_LIMITS_CONTINUATIONS)
    message(
        FATAL_ERROR
            "The nghttp2 found (${NGHTTP2_VERSION}) has no limit on CONTINUATION frames "
            "(CVE-2024-28182). hpx needs 1.61 or later, or a distribution's patched 1.52: run "
            "tools/setup, or upgrade libnghttp2-dev.")
endif()

set(HPX_DEPENDENCIES
    PkgConfig::WOLFSSL PkgConfig::LIBURING PkgConfig::CARES PkgConfig::ZLIB PkgConfig::NGHTTP2
    Threads::Threads)

# The static mimalloc only: the shared one replaces malloc() in the whole process.
set(HPX_HAVE_MIMALLOC 0)
if(HPX_MIMALLOC AND NOT HPX_SANITIZE)
    find_package(mimalloc QUIET CONFIG HINTS ${hpx_prefix})
    if(TARGET mimalloc-static AND mimalloc_VERSION VERSION_GREATER_EQUAL 2.0)
        set(HPX_HAVE_MIMALLOC 1)
        list(APPEND HPX_DEPENDENCIES mimalloc-static)
    else()
        message(STATUS "hpx: no static mimalloc; the default allocator is malloc")
    endif()
endif()
