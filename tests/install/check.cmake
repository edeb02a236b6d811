# Builds and runs the project beside this file the way a user would.
#     cmake -DVARIANT=installed|subdirectory -DSOURCE=… -DBINARY=… -DGENERATOR=… -DCOMPILER=… [-DLAUNCHER=…] -P check.cmake
cmake_minimum_required(VERSION 3.22)

function(fail text)
  if(VARIANT STREQUAL "installed")
    file(REMOVE_RECURSE ${folder})
  endif()
  message(FATAL_ERROR "${text}")
endfunction()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    fail("${command}\n${output}\nfailed: ${result}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(options -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER})
if(VARIANT STREQUAL "installed")
  # Far away from the source tree, in a folder that is gone afterwards.
  execute_process(COMMAND mktemp -d OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  run(${CMAKE_COMMAND} --install ${BINARY} --prefix ${folder}/prefix)
  # What is installed must not lean on where it was built.
  file(GLOB_RECURSE files ${folder}/prefix/*.cmake ${folder}/prefix/*.hpp)
  foreach(file IN LISTS files)
    file(READ ${file} text)
    string(FIND "${text}" "${SOURCE}" found)
    if(NOT found EQUAL -1)
      fail("${file} names the source tree ${SOURCE}")
    endif()
  endforeach()
  list(APPEND options -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${folder}/prefix)
else()
  # This compiles the whole library again, so the folder is kept: the next time only what has changed is compiled.
  set(folder ${BINARY}/tests/subdirectory)
  list(APPEND options -DCMAKE_BUILD_TYPE=None -DXGRAD_SOURCE=${SOURCE})  # nothing is optimised: that takes longest
endif()

file(COPY ${CMAKE_CURRENT_LIST_DIR}/CMakeLists.txt ${CMAKE_CURRENT_LIST_DIR}/main.cpp DESTINATION ${folder}/app)
run(${CMAKE_COMMAND} -S ${folder}/app -B ${folder}/build ${options})
run(${CMAKE_COMMAND} --build ${folder}/build --parallel 2 --target app)
run(${folder}/build/app)
message("${output}")
if(VARIANT STREQUAL "installed")
  file(REMOVE_RECURSE ${folder})
endif()
