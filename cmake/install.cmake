# SPDX-License-Identifier: BSD-3-Clause
# What cmake --install puts where. Included last by the top CMakeLists.txt.
#
# libpilot is one shared library: its components are linked in and hidden, so that a program needs
# -lpilot and nothing else, and neither its pkg-config file nor its CMake package names them.
include(CMakePackageConfigHelpers)

set(PILOT_DATADIR ${CMAKE_INSTALL_DATADIR}/pilot-mpi)

if(TARGET pilot-mpi)
    # Found beside the library wherever the prefix is moved to.
    file(RELATIVE_PATH bin_to_lib /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
    set_target_properties(pilot-mpi PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
    install(TARGETS pilot-mpi RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

if(TARGET pilot)
    install(TARGETS pilot
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

    # Both files find their prefix from where they lie: an installed tree may be moved.
    file(RELATIVE_PATH PILOT_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" PILOT_PC_TO_PREFIX "${PILOT_PC_TO_PREFIX}")
    configure_file(${CMAKE_CURRENT_LIST_DIR}/pilot.pc.in ${PROJECT_BINARY_DIR}/pilot.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/pilot.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

    set(PILOT_INCLUDE_DIR ${CMAKE_INSTALL_INCLUDEDIR})
    set(PILOT_LIB_DIR ${CMAKE_INSTALL_LIBDIR})
    get_target_property(pilot_type pilot TYPE)
    if(pilot_type STREQUAL SHARED_LIBRARY)
        set(PILOT_LIB_FILE ${CMAKE_SHARED_LIBRARY_PREFIX}pilot${CMAKE_SHARED_LIBRARY_SUFFIX})
    else()
        set(PILOT_LIB_FILE ${CMAKE_STATIC_LIBRARY_PREFIX}pilot${CMAKE_STATIC_LIBRARY_SUFFIX})
    endif()
    configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/pilotConfig.cmake.in
        ${PROJECT_BINARY_DIR}/pilotConfig.cmake
        INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pilot
        PATH_VARS PILOT_INCLUDE_DIR PILOT_LIB_DIR)
    write_basic_package_version_file(${PROJECT_BINARY_DIR}/pilotConfigVersion.cmake
        VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
    install(FILES ${PROJECT_BINARY_DIR}/pilotConfig.cmake ${PROJECT_BINARY_DIR}/pilotConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pilot)
endif()

install(FILES ${PROJECT_SOURCE_DIR}/docs/pilot-mpi.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 OPTIONAL)

# quickstart.sh builds from sources, which an installation does not have; what running the examples
# leaves in a source tree is not installed.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples ${PROJECT_SOURCE_DIR}/slurm
    DESTINATION ${PILOT_DATADIR} USE_SOURCE_PERMISSIONS
    PATTERN quickstart.sh EXCLUDE
    PATTERN pilot_runs EXCLUDE
    PATTERN "*.o" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/python/pilot.py ${PROJECT_SOURCE_DIR}/python/README.md
    DESTINATION ${PILOT_DATADIR}/python)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
