// Options of stages, made once and kept: what searches and provisioning read.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "model/options.h"

namespace stageplan {

// The same from all threads.
class OptionLists {
 public:
  explicit OptionLists(const Problem& problem);
  ~OptionLists();
  OptionLists(const OptionLists&) = delete;
  OptionLists& operator=(const OptionLists&) = delete;

  const Options& options() const { return options_; }

  // As Options::list_fitting. What is kept is returned as it is, the rest in `buffer`.
  std::span<const Option> fitting(int first, int last, int type, std::vector<Option>& buffer) const;

  // Replaces `options` by what a stage of a group may be with so many microbatches in flight, by devices: those
  // that fit, or where none does those of least violation. Empty where the group has none.
  void list(int first, int last, int type, int in_flight, const OptionGroup& group,
            std::vector<Option>& options) const;

  bool in_group(const Option& option, const OptionGroup& group) const;

 private:
  using List = std::vector<Option>;
  std::atomic<const List*>* place(int first, int last, int type) const;

  const Problem& problem_;
  const Options options_;
  const size_t count_;                                 // of stages that lists are kept of; 0 where too many
  std::unique_ptr<std::atomic<const List*>[]> lists_;  // by stage; null where not made yet
  mutable std::atomic<size_t> bytes_{0};
};

}  // namespace stageplan
