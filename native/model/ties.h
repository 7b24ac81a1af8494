// How close a plan has to be to a bound to count as proven.
#pragma once

#include "model/problem.h"

namespace stageplan {

// Numbers this close count as equal: proofs hold up to such ties.
inline constexpr double kTie = 4 * kTolerance;

}  // namespace stageplan
