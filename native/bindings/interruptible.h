// Native work that gives the interpreter to other threads, and ends early at a deadline or a signal.
#pragma once

#include <pybind11/pybind11.h>

#include <limits>

#include "common/stop.h"

namespace stageplan {

// Calls `work` without the interpreter's lock. What a signal handler raises meanwhile, such as
// KeyboardInterrupt, is raised here; `Stopped` where the deadline of the caller's StopAfter has come.
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
