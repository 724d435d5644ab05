# `cmake --install build/<preset> --prefix DIR` and `cpack` (a .deb): program, C library with CMake and pkg-config files,
# data, licences. The tree may be moved as a whole.
#
# Arrow, which Debian 12 does not have, is copied from the pyarrow wheel into <libdir>/dsaperf, beside the library that
# opens it when a table is read; its licence and notice go with it. Everything else is found where Debian has it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(private_libdir ${CMAKE_INSTALL_LIBDIR}/dsaperf)
file(RELATIVE_PATH bin_to_libraries /${CMAKE_INSTALL_BINDIR} /${private_libdir})

# The program and what it opens.
set_target_properties(dsaperf PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_libraries}")
install(TARGETS dsaperf RUNTIME)
set_target_properties(dsaperf_parquet_library PROPERTIES INSTALL_RPATH "$ORIGIN")
install(TARGETS dsaperf_parquet_library dsaperf_blas_library LIBRARY DESTINATION ${private_libdir})
foreach(library arrow parquet)
  get_target_property(shared_object dsaperf_${library} IMPORTED_LOCATION)
  install(PROGRAMS ${shared_object} DESTINATION ${private_libdir})
endforeach()
if(TARGET dsaperf_inject)
  install(TARGETS dsaperf_inject LIBRARY DESTINATION ${private_libdir})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/ DESTINATION ${CMAKE_INSTALL_DATADIR}/dsaperf)

# The C library. find_package(dsaperf) gives dsaperf::dsaperf; pkg-config knows it as dsaperf.
set_target_properties(dsaperf_c PROPERTIES EXPORT_NAME dsaperf INSTALL_RPATH "$ORIGIN/dsaperf")
install(TARGETS dsaperf_c EXPORT dsaperfTargets LIBRARY INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/dsaperf/dsaperf.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dsaperf)
set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dsaperf)
install(EXPORT dsaperfTargets NAMESPACE dsaperf:: DESTINATION ${cmake_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/dsaperfConfig.cmake.in dsaperfConfig.cmake
                              INSTALL_DESTINATION ${cmake_dir} PATH_VARS CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(dsaperfConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dsaperfConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/dsaperfConfigVersion.cmake
        DESTINATION ${cmake_dir})
file(RELATIVE_PATH pkgconfig_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/dsaperf.pc.in dsaperf.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dsaperf.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Debian's zsh looks there for what comes in packages; DsaperfShare installs the rest of it.
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/completions/dsaperf.zsh
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _dsaperf)

# Licences: ours where Debian looks for it, and what Arrow asks to go with copies of it.
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
install(FILES ${arrow_licences} DESTINATION ${CMAKE_INSTALL_DOCDIR}/arrow)

# cpack -G DEB --config build/<preset>/CPackConfig.cmake
set(CPACK_PACKAGE_NAME dsaperf)
set(CPACK_PACKAGE_VENDOR "dsaperf")
set(CPACK_PACKAGE_CONTACT "dsaperf maintainers <maintainers@dsaperf.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Analyse, run, profile and predict DeepSeek Sparse Attention")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS $<TARGET_FILE_DIR:dsaperf_parquet_library> ${arrow_library_dir})
include(CPack)
