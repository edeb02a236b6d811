# Compiler settings that every target of the project shares, and the instruction-set levels of the kernels.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(xgrad_levels portable avx2 avx512)
else()
  set(xgrad_levels portable)
endif()
set(xgrad_portable_flags "")
set(xgrad_avx2_flags -mavx2 -mfma)
set(xgrad_avx512_flags -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd
                       -mprefer-vector-width=512)

function(xgrad_settings target)
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                             CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Wno-sign-conversion
                                           # GCC 12 is wrong about xtensor's small vectors.
                                           $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
                                           $<$<CONFIG:Release>:-O3>
                                           # What a program does not use, its linker leaves out.
                                           -ffunction-sections -fdata-sections)
  if(XGRAD_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${XGRAD_SANITIZE} -fno-omit-frame-pointer -g1
                                             -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${XGRAD_SANITIZE})
  endif()
endfunction()

# Kernels and tests go without the checks that cost the compiler most: of pointers before each use, whether they are null
# or misaligned (the address sanitizer sees the use itself), and of computing them.
function(xgrad_fewer_checks target)
  if(XGRAD_SANITIZE)
    target_compile_options(${target} PRIVATE -fno-sanitize=null,alignment,object-size,pointer-overflow)
  endif()
endfunction()

# What nearly every file of a target begins with is read once: half of the compiler's time. Not through ccache, which
# does not cache what is compiled so. (Such a build shows whether each file names what it uses.)
function(xgrad_read_once target)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
    target_precompile_headers(${target} PRIVATE <xgrad/autodiff/xtensor.hpp> <fmt/format.h> ${ARGN})
  endif()
endfunction()

# A program of the project itself: a test, a benchmark or an example.
function(xgrad_program target)
  add_executable(${target} ${ARGN})
  target_link_libraries(${target} PRIVATE xgrad::xgrad)
  xgrad_settings(${target})
  xgrad_fewer_checks(${target})
  if(XGRAD_NATIVE AND NOT CMAKE_CROSSCOMPILING)
    target_compile_options(${target} PRIVATE -march=native)
  endif()
endfunction()
