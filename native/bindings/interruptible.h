// Native work that releases the interpreter lock and ends early at a deadline or a signal.
#pragma once

#include <pybind11/pybind11.h>

#include <limits>

#include "common/stop.h"

namespace stageplan {

// Calls `work` without the interpreter lock. An exception raised by a signal handler meanwhile, such as
// KeyboardInterrupt, is raised here; `Stopped` if the deadline of the caller's StopAfter has passed.
template <class Work>
auto run_interruptibly(const Work& work) {
  bool raised = false;
  const auto poll = [&raised] {
    const pybind11::gil_scoped_acquire acquire;
    raised = raised || PyErr_CheckSignals() != 0;
    return raised;
  };
  try {
    const pybind11::gil_scoped_release release;
    const StopRequest request(std::numeric_limits<double>::infinity(), poll);
    return work();
  } catch (const Stopped&) {
    if (raised) throw pybind11::error_already_set();
    throw;
  }
}

}  // namespace stageplan
