# hpx_add_test(NAME ring/spsc SOURCES test_spsc.c [LABELS ...] [TIMEOUT 60] [ENV A=b ...] [LIBS ...]
#              [SERIAL])
# builds one cmocka executable and registers it with ctest. Skip = exit status 77.
#
# hpx_add_folder_tests([EXCEPT test_x.c ...] [LABELS ...] [TIMEOUT 60] [ENV ...] [LIBS ...]
#                      [SERIAL])
# does that for every test_*.c of the current folder, as <folder>/<name>; the folder's other .c
# files are linked into each of them.

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET GLOBAL cmocka>=1.1)

set(support_dir ${PROJECT_SOURCE_DIR}/tests/support)
set(HPX_TEST_ENV
    HPX_SOURCE_DIR=${PROJECT_SOURCE_DIR}
    HPX_BINARY_DIR=${PROJECT_BINARY_DIR}
    HPX_TOOL=${PROJECT_BINARY_DIR}/hpx
    HPX_PYTHON=/usr/bin/python3
    NODE_PATH=${PROJECT_SOURCE_DIR}/.deps/node/node_modules:/usr/share/nodejs
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1
    LSAN_OPTIONS=suppressions=${support_dir}/lsan.supp:print_suppressions=0
    UBSAN_OPTIONS=print_stacktrace=1
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${support_dir}/tsan.supp
)

# Properties that every ctest of ours has.
function(hpx_test_properties name)
    cmake_parse_arguments(arg "SERIAL" "TIMEOUT" "LABELS;ENV" ${ARGN})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
    endif()
    if(HPX_SANITIZE)
        math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 3")
    endif()
    string(REGEX REPLACE "/.*" "" folder ${name})
    set_tests_properties(
        ${name}
        PROPERTIES SKIP_RETURN_CODE 77
                   TIMEOUT ${arg_TIMEOUT}
                   LABELS "${folder};${arg_LABELS}"
                   ENVIRONMENT "${HPX_TEST_ENV};${arg_ENV}")
    if(arg_SERIAL)
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()

function(hpx_add_test)
    cmake_parse_arguments(arg "SERIAL" "NAME;TIMEOUT" "SOURCES;LABELS;ENV;LIBS" ${ARGN})
    string(MAKE_C_IDENTIFIER test_${arg_NAME} target)
    add_executable(${target} ${arg_SOURCES})
    target_include_directories(
        ${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(
        ${target} PRIVATE ${arg_LIBS} hpx_test_support hpx_static PkgConfig::CMOCKA
                          PkgConfig::YYJSON ${HPX_DEPENDENCIES})
    target_compile_definitions(${target} PRIVATE HPX_HAVE_MIMALLOC=${HPX_HAVE_MIMALLOC})
    hpx_compile_options(${target})
    add_test(NAME ${arg_NAME} COMMAND ${target})
    set(serial)
    if(arg_SERIAL)
        set(serial SERIAL)
    endif()
    hpx_test_properties(
        ${arg_NAME} TIMEOUT ${arg_TIMEOUT} LABELS ${arg_LABELS} ENV ${arg_ENV} ${serial})
endfunction()

function(hpx_add_folder_tests)
    cmake_parse_arguments(arg "SERIAL" "TIMEOUT" "EXCEPT;LABELS;ENV;LIBS" ${ARGN})
    get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    file(GLOB tests RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS test_*.c)
    file(GLOB support RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS *.c)
    list(FILTER support EXCLUDE REGEX "^test_")
    list(REMOVE_ITEM tests ${arg_EXCEPT})
    list(REMOVE_ITEM support ${arg_EXCEPT})
    set(libs ${arg_LIBS})
    if(support)
        set(library test_${folder}_support)
        add_library(${library} STATIC ${support})
        target_include_directories(
            ${library} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
        target_link_libraries(
            ${library} PUBLIC ${arg_LIBS} hpx_test_support hpx_static PkgConfig::CMOCKA
                              PkgConfig::YYJSON ${HPX_DEPENDENCIES})
        hpx_compile_options(${library})
        list(PREPEND libs ${library})
    endif()
    set(serial)
    if(arg_SERIAL)
        set(serial SERIAL)
    endif()
    foreach(source ${tests})
        string(REGEX REPLACE "^test_(.*)\\.c$" "\\1" unit ${source})
        hpx_add_test(
            NAME ${folder}/${unit}
            SOURCES ${source}
            TIMEOUT ${arg_TIMEOUT}
            LABELS ${arg_LABELS}
            ENV ${arg_ENV}
            LIBS ${libs} ${serial})
    endforeach()
endfunction()
