# Installing and find_package(xgrad CONFIG).
include(CMakePackageConfigHelpers)

install(TARGETS xgrad EXPORT xgrad_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${xgrad_umbrellas} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/xgrad)
install(DIRECTORY ${xgrad_folders} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/xgrad FILES_MATCHING PATTERN "*.hpp")
install(EXPORT xgrad_targets FILE xgradTargets.cmake NAMESPACE xgrad:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xgrad)
configure_package_config_file(cmake/xgradConfig.cmake.in ${PROJECT_BINARY_DIR}/xgradConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xgrad)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/xgradConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/xgradConfig.cmake ${PROJECT_BINARY_DIR}/xgradConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/xgrad)
