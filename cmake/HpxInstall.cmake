# make install: libraries, headers, the hpx command, a CMake package (find_package(hpx)) and hpx.pc.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hpx)

install(TARGETS hpx_static hpx_shared EXPORT hpx-targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/hpx DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
if(TARGET hpx_tool)
    install(TARGETS hpx_tool)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT hpx-targets NAMESPACE hpx:: DESTINATION ${package_dir})
configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/hpx-config.cmake.in ${PROJECT_BINARY_DIR}/hpx-config.cmake
    INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/hpx-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/hpx-config.cmake ${PROJECT_BINARY_DIR}/hpx-config-version.cmake
        DESTINATION ${package_dir})

set(HPX_PC_MIMALLOC)
if(HPX_HAVE_MIMALLOC)
    set(HPX_PC_MIMALLOC "-lmimalloc")
endif()
configure_file(
    ${PROJECT_SOURCE_DIR}/cmake/hpx.pc.in ${PROJECT_BINARY_DIR}/hpx.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hpx.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
