// Scores of many schemes: at one target by kernels that are chosen at run time, or exactly provisioned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "merge.h"
#include "provision.h"
#include "stage_table.h"

namespace stageplan {

// The stage table as kernels read it: one word a stage. The high bits rank the stage's time among all
// stage times, so that the slowest stage is a maximum of words; the low bits are its devices. A stage that
// does not fit (too many devices, a violation of its own) has the highest bit set: a scheme with one is
// scored from the stage table itself.
struct PackedTable {
  static constexpr int kDeviceBits = 8;
  static constexpr std::uint32_t kMostDevices = (1u << kDeviceBits) - 1;
  static constexpr std::uint32_t kUnfit = 1u << 31;

  explicit PackedTable(const StageTable& table, const Problem& problem);

  std::vector<std::uint32_t> words;  // (first, last, type)
  std::vector<double> times;         // by rank
};

// The short stages once more, by the layer that they end at, in tables that fit registers: what 64 schemes
// look up at a layer is a permutation of one. A stage of `n` layers on type `t` stands at (n - 1) * types + t.
struct ShortStages {
  static constexpr int kWidth = 64;

  ShortStages(const PackedTable& packed, const Problem& problem);

  int longest = 0;                    // layers of a stage up to which it is here; 0 where nothing fits
  std::vector<std::uint16_t> ranks;   // (layers, kWidth): of its time among those here, from 1 on
  std::vector<std::uint8_t> devices;  // (layers, kWidth)
  std::vector<std::uint32_t> prices;  // (layers, 2, kWidth): their $/hour, lower and upper half; many types only
  std::vector<std::uint32_t> words;   // by rank; that of rank 0 is below all others
};

// Where scores go: one number a scheme in each array.
struct ScoreArrays {
  double *cost, *time, *violation;

  ScoreArrays from(size_t i) const { return {cost + i, time + i, violation + i}; }
  Score operator[](size_t i) const { return {cost[i], time[i], violation[i]}; }
  void set(size_t i, const Score& score) const {
    cost[i] = score.cost;
    time[i] = score.time;
    violation[i] = score.violation;
  }
};

// Up to so many types the price is added up by type, with more of them by stage.
inline constexpr int kCountedTypes = 16;

// Of more types than that, devices may be counted by type modulo this number.
inline constexpr int kBuckets = 16;

class Scorer;

// All that a kernel reads.
struct KernelInput {
  const Scorer& scorer;
  const std::uint32_t* words;
  const ShortStages& short_stages;
  const double* times;
  const double *price, *limit, *limit_weight;
  const std::uint16_t* limit_word;   // limits of the types, cut off at 16 bits
  const std::uint8_t* bucket_limit;  // least limit of the types that are the same modulo kBuckets
  int layers, types, labels;
  int label_shift;  // type = label >> label_shift
};

// Scores schemes; false where a gene is no label.
using Kernel = bool (*)(const KernelInput&, const std::int8_t* schemes, size_t count, const ScoreArrays&);

// Instruction sets that this processor runs, best first; "baseline" is always among them.
std::vector<std::string> instruction_sets();

// The one in use: the best, or that which the environment variable STAGEPLAN_ISA names. Throws
// std::invalid_argument where it names another.
std::string instruction_set();

// Everything that is needed to score schemes of one problem, made once. Immutable.
class Scorer {
 public:
  // With a target, every stage gets the fewest devices that take at most `time`; without, each scheme is
  // provisioned for the goal, at most `steps` devices beyond it.
  explicit Scorer(const Problem& problem, int steps = Provisioner::kAllSteps);
  Scorer(const Problem& problem, double time);

  const Problem& problem() const { return problem_; }
  const StageLoads& loads() const { return loads_; }

  const StageTable& table() const { return table_; }

  // Scores `count` schemes of `problem.layers` genes each; false where a gene is no label.
  bool score(const std::int8_t* schemes, size_t count, const ScoreArrays& scores, int threads = 1) const;

  Score score(const std::int8_t* scheme) const;

  // One scheme at the target, from the stage table.
  Score score_by_table(const std::int8_t* scheme) const;

 private:
  bool score_part(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const;
  void provision(const std::int8_t* schemes, size_t count, const ScoreArrays& scores) const;

  const Problem& problem_;
  StageLoads loads_;
  int steps_ = 0;
  double time_ = 0;
  bool at_target_;
  StageTable table_;
  std::unique_ptr<PackedTable> packed_;
  std::unique_ptr<ShortStages> short_stages_;
  std::vector<std::uint16_t> limit_words_;
  std::vector<std::uint8_t> bucket_limits_;
  Kernel kernel_ = nullptr;
};

// Position of the first gene that is no label of the problem, or `count` where all are.
size_t first_bad_gene(const std::int8_t* genes, size_t count, int labels);

}  // namespace stageplan
