// Local search over single changes of a scheme: any run of layers overwritten by any label. Moving the edge of
// a stage, changing its type, merging stages and inserting one are such changes.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "model/stage_table.h"

namespace stageplan {

// Reads only the stage table, so that a change costs a few look-ups. Keeps its buffers; one object per thread.
class LocalSearch {
 public:
  LocalSearch(const Problem& problem, const StageTable& table);

  // Improves a scheme until no single change does; a run overwrites or cuts at most `reach` + 1 stages. Returns
  // the number of schemes evaluated.
  std::uint64_t descend(std::int8_t* scheme, Score& score, int reach = 3);

  // The same, but only for runs that begin near two layers and, after each improvement, near the change.
  std::uint64_t descend_near(std::int8_t* scheme, Score& score, int a, int b, int reach);

 private:
  // Totals over some stages.
  struct Sum {
    double time = 0, price = 0, violation = 0;
  };
  struct TableStage {
    int label, type, first, last;
    StageTable::Entry entry;
  };
  struct Change {
    int last = -1, label = -1;
    Score score;
  };

  void load(const std::int8_t* scheme);
  Score score() const;
  Change best_change(int first, const Score& current);
  void mark(int first, int last);
  std::uint64_t descend_marked(std::int8_t* scheme, Score& score, int reach);
  using Ends = std::initializer_list<const TableStage*>;
  void overwrite(const Sum& outer, int first, int last, int right, Change& best);
  void overwrite_apart(const Sum& rest, const TableStage& before, const TableStage& behind, int first, int last,
                       Change& best);
  void consider(const Sum& rest, Ends ends, int first, int last, int type, int changed, int label,
                Change& best);
  bool hopeless(const Sum& rest, const Change& best) const;
  void change_count(int type, int devices);
  void change_count(const TableStage& stage, int times) {
    change_count(stage.type, times * stage.entry.devices);
  }
  double broken(int type, double devices) const;
  Sum plus(Sum sum, const StageTable::Entry& entry, int type) const;
  const StageTable::Entry& entry(int first, int last, int type) const;

  const Problem& problem_;
  const StageTable& table_;
  std::vector<std::vector<int>> labels_of_;  // labels of each type
  std::vector<TableStage> stages_;
  std::vector<int> stage_of_;   // by layer
  std::vector<char> marked_;    // layers whose runs have not been tried yet
  std::vector<Sum> before_;     // of the stages before each one
  std::vector<Sum> after_;      // of it and the stages after it
  std::vector<double> counts_;  // devices by type, of the stages that a change keeps
  double limits_ = 0;           // violation of their limits
  int broken_types_ = 0;        // number of types above their limit
  int reach_ = 0;
  std::uint64_t looked_at_ = 0;
};

}  // namespace stageplan
