// Which instruction set's kernels are in use.
#pragma once

#include <string>
#include <vector>

#include "kernels/breeding.h"
#include "kernels/policy_kernels.h"
#include "kernels/scorer.h"

namespace stageplan {

struct InstructionSet {
  const char* name;
  bool (*supported)();
  Kernel kernel;
  OptionKernel option_kernel;
  std::uint8_t (*largest_gene)(const std::int8_t* genes, size_t count);  // as unsigned numbers
  Breed breed;
  const PolicyKernels<float>& policy_float;
  const PolicyKernels<double>& policy_double;
};

// Names of those that this processor supports, best first; "baseline" is always included.
std::vector<std::string> instruction_sets();

// The one in use: the best, or the one named by the environment variable STAGEPLAN_ISA. Throws
// std::invalid_argument if that is not supported.
const InstructionSet& instruction_set();

}  // namespace stageplan
