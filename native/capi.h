// What compiled callers see: src/stageplan/include/stageplan/capi.h.
#pragma once

#include <stageplan/capi.h>

#include "model/problem.h"

namespace stageplan {

extern const stageplan_api kApi;

// A handle of a copy of the problem, to be freed by `problem_free`.
stageplan_problem* make_problem_handle(const Problem& problem);

}  // namespace stageplan
