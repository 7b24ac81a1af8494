// The capsule through which compiled callers reach the C API.
#include "capi.h"

#include <pybind11/pybind11.h>

#include "bindings/bind.h"

namespace stageplan {

void bind_capi(pybind11::module_& m) {
  m.attr("capi") = pybind11::capsule(&kApi, STAGEPLAN_CAPSULE);
  m.def(
      "capi_problem",
      [](const Problem& problem) { return reinterpret_cast<std::uintptr_t>(make_problem_handle(problem)); },
      pybind11::arg("problem"));
}

}  // namespace stageplan
