// Scores among options, for every processor.
#include "kernels/kernel_sets.h"

namespace stageplan::baseline {
namespace {

// Bit i of the result: a stage ends at layer i of these at most 64.
std::uint64_t stage_ends(const std::int8_t* genes, int count, bool last) {
  std::uint64_t ends = 0;
  const int pairs = last ? count - 1 : count;
  for (int i = 0; i < pairs; ++i) ends |= std::uint64_t{genes[i] != genes[i + 1]} << i;
  return last ? ends | std::uint64_t{1} << (count - 1) : ends;
}

}  // namespace

#include "kernels/option_kernels-inl.h"

}  // namespace stageplan::baseline
