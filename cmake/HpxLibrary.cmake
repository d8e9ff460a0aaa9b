# hpx::hpx_static, hpx::hpx_shared and hpx::hpx, from the objects of hpx_objects.

target_compile_definitions(hpx_objects PRIVATE HPX_HAVE_MIMALLOC=${HPX_HAVE_MIMALLOC})

add_library(hpx_static STATIC $<TARGET_OBJECTS:hpx_objects>)
add_library(hpx_shared SHARED $<TARGET_OBJECTS:hpx_objects>)

foreach(target hpx_static hpx_shared)
    add_library(hpx::${target} ALIAS ${target})
    target_include_directories(
        ${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                         $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_compile_features(${target} INTERFACE c_std_11)
    target_link_libraries(${target} PRIVATE ${HPX_DEPENDENCIES})
    set_target_properties(${target} PROPERTIES OUTPUT_NAME hpx LINKER_LANGUAGE C)
    hpx_compile_options(${target})
endforeach()

# Only hpx_* leaves the shared library: not wolfSSL's symbols, which the program may have as well.
set_target_properties(
    hpx_shared
    PROPERTIES VERSION ${PROJECT_VERSION}
               SOVERSION ${PROJECT_VERSION_MAJOR}
               LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/hpx.map)
target_link_options(
    hpx_shared PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/hpx.map
    -Wl,--exclude-libs,ALL)
if(NOT HPX_SANITIZE)
    target_link_options(hpx_shared PRIVATE -Wl,-z,defs)
endif()

if(HPX_BUILD_SHARED)
    add_library(hpx::hpx ALIAS hpx_shared)
else()
    add_library(hpx::hpx ALIAS hpx_static)
endif()
