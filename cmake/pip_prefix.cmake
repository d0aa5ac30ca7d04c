# SPDX-License-Identifier: Apache-2.0
# For a build against ROS 2 from pip wheels, passed as -DCMAKE_PROJECT_INCLUDE=.../pip_prefix.cmake.
#
# The CMake exports in the wheels still name include folders of the machine that built them (its
# Python headers), and CMake refuses an imported target with a folder that is not there. Once the
# whole CMakeLists.txt has been read, and with it every package found, such folders are taken out.
# With a ROS 2 from apt or from source nothing is missing and nothing changes.

function(pixelrefer_keep_existing_includes)
  get_directory_property(targets IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders "${target}" INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(existing ${folders})
    foreach(folder IN LISTS folders)
      # A generator expression is not a path yet; CMake resolves it later.
      if(NOT folder MATCHES "\\$<" AND NOT EXISTS "${folder}")
        list(REMOVE_ITEM existing "${folder}")
      endif()
    endforeach()
    set_property(TARGET "${target}" PROPERTY INTERFACE_INCLUDE_DIRECTORIES "${existing}")
  endforeach()
endfunction()

cmake_language(DEFER CALL pixelrefer_keep_existing_includes)
