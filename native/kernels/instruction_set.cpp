#include "kernels/instruction_set.h"

#include <cstdlib>
#include <stdexcept>

#include "kernels/kernel_sets.h"

namespace stageplan {
namespace {

bool always() { return true; }

#if STAGEPLAN_X86
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
}
const InstructionSet kSets[] = {
    {"avx512", has_avx512, avx512::score_schemes, avx512::score_options, avx2::largest_gene, avx512::breed,
     avx512::policy_float, avx512::policy_double},
    {"avx2", has_avx2, avx2::score_schemes, avx2::score_options, avx2::largest_gene, baseline::breed,
     avx2::policy_float, avx2::policy_double},
    {"baseline", always, baseline::score_schemes, baseline::score_options, baseline::largest_gene,
     baseline::breed, baseline::policy_float, baseline::policy_double}};
#else
const InstructionSet kSets[] = {{"baseline", always, baseline::score_schemes, baseline::score_options,
                                 baseline::largest_gene, baseline::breed, baseline::policy_float,
                                 baseline::policy_double}};
#endif

const InstructionSet& choose_set() {
  const char* variable = std::getenv("STAGEPLAN_ISA");
  const std::string name = variable == nullptr ? "" : variable;  // empty as if not set: the best one
  std::string known;
  for (const InstructionSet& set : kSets) {
    if (!set.supported()) continue;
    if (name.empty() || name == set.name) return set;
    known += (known.empty() ? "" : ", ") + std::string(set.name);
  }
  throw std::invalid_argument("STAGEPLAN_ISA is '" + name + "'; this processor has " + known);
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : kSets)
    if (set.supported()) names.emplace_back(set.name);
  return names;
}

const InstructionSet& instruction_set() {
  static const InstructionSet& set = choose_set();
  return set;
}

}  // namespace stageplan
