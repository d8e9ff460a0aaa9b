# hpx_add_bench(<name> <sources...>): one Google Benchmark program, bench_<name>, in C++17; C
# sources may be among them.

pkg_check_modules(BENCHMARK REQUIRED IMPORTED_TARGET GLOBAL benchmark>=1.7)
pkg_check_modules(CURL IMPORTED_TARGET GLOBAL libcurl) # bench/http compares with it

function(hpx_add_bench name)
    add_executable(bench_${name} ${ARGN})
    target_include_directories(
        bench_${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(
        bench_${name}
        PRIVATE hpx_static PkgConfig::BENCHMARK $<TARGET_NAME_IF_EXISTS:PkgConfig::CURL>
                PkgConfig::YYJSON ${HPX_DEPENDENCIES})
    hpx_compile_options(bench_${name})
endfunction()
