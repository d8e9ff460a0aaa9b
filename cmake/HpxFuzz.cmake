# hpx_add_fuzzer(<name> <source> <corpus folder> [LIBS ...] [RUNNER run.sh])
# In the fuzz preset: a libFuzzer program, and a ctest that runs it for HPX_FUZZ_SECONDS over a copy
# of its seed corpus. In the other presets: the same source with a driver that replays the corpus.

set(HPX_FUZZ_SECONDS 10 CACHE STRING "How long ctest runs each fuzzer")

function(hpx_add_fuzzer name source corpus)
    cmake_parse_arguments(arg "" "RUNNER" "LIBS" ${ARGN})
    if(NOT arg_RUNNER)
        set(arg_RUNNER run.sh)
    endif()
    get_filename_component(corpus ${corpus} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
    add_executable(${name} ${source})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(
        ${name} PRIVATE ${arg_LIBS} hpx_static PkgConfig::YYJSON ${HPX_DEPENDENCIES})
    hpx_compile_options(${name})
    if(HPX_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        add_test(NAME fuzz/${name}
                 COMMAND ${PROJECT_SOURCE_DIR}/tests/fuzz/${arg_RUNNER} $<TARGET_FILE:${name}>
                         ${corpus} ${HPX_FUZZ_SECONDS})
        math(EXPR timeout "${HPX_FUZZ_SECONDS} + 120")
    else()
        target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c)
        add_test(NAME fuzz/${name} COMMAND ${name} ${corpus})
        set(timeout 60)
    endif()
    hpx_test_properties(fuzz/${name} TIMEOUT ${timeout})
endfunction()
