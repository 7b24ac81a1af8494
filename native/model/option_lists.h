// Options of stages, computed once and cached: what searches and provisioning read.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "model/options.h"

namespace stageplan {

// Thread-safe.
class OptionLists {
 public:
  explicit OptionLists(const Problem& problem);
  ~OptionLists();
  OptionLists(const OptionLists&) = delete;
  OptionLists& operator=(const OptionLists&) = delete;

  const Options& options() const { return options_; }

  // As Options::list_fitting. Returns the cached list, or `buffer` if it cannot be cached.
  std::span<const Option> fitting(int first, int last, int type, std::vector<Option>& buffer) const;

  // Replaces `options` by those of a stage, of a group, with a given number of microbatches in flight, sorted
  // by devices: those that fit or, if none does, those of least violation. Empty if the group has none.
  void list(int first, int last, int type, int in_flight, const OptionGroup& group,
            std::vector<Option>& options) const;

  bool in_group(const Option& option, const OptionGroup& group) const;

 private:
  using List = std::vector<Option>;
  std::atomic<const List*>* place(int first, int last, int type) const;

  const Problem& problem_;
  const Options options_;
  const size_t count_;                                 // stages whose lists are cached; 0 if too many
  std::unique_ptr<std::atomic<const List*>[]> lists_;  // by stage; null until computed
  mutable std::atomic<size_t> bytes_{0};
};

}  // namespace stageplan
