#include "model/option_lists.h"

#include <algorithm>

namespace stageplan {
namespace {

constexpr size_t kMostStages = size_t{1} << 24;  // above which no lists are cached
constexpr size_t kMostBytes = size_t{1} << 29;   // of all cached lists

size_t stages(const Problem& problem) {
  const size_t layers = problem.layers, count = layers * (layers + 1) / 2 * problem.types;
  return count <= kMostStages ? count : 0;
}

}  // namespace

OptionLists::OptionLists(const Problem& problem)
    : problem_(problem),
      options_(problem),
      count_(stages(problem)),
      lists_(std::make_unique<std::atomic<const List*>[]>(count_)) {}

OptionLists::~OptionLists() {
  for (size_t i = 0; i < count_; ++i) delete lists_[i].load();
}

std::atomic<const OptionLists::List*>* OptionLists::place(int first, int last, int type) const {
  if (count_ == 0) return nullptr;
  const size_t layers = problem_.layers;
  const size_t row = static_cast<size_t>(first) * (2 * layers - first + 1) / 2;
  return &lists_[(row + last - first) * problem_.types + type];
}

std::span<const Option> OptionLists::fitting(int first, int last, int type, std::vector<Option>& buffer) const {
  std::atomic<const List*>* const kept = place(first, last, type);
  if (kept)
    if (const List* list = kept->load(std::memory_order_acquire)) return *list;
  options_.list_fitting(first, last, type, buffer);
  const size_t bytes = sizeof(List) + buffer.size() * sizeof(Option);
  if (!kept || bytes_.fetch_add(bytes) > kMostBytes) return buffer;
  auto made = std::make_unique<const List>(buffer);
  const List* found = nullptr;  // another thread may have been first
  if (kept->compare_exchange_strong(found, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *found;
}

bool OptionLists::in_group(const Option& option, const OptionGroup& group) const {
  return group == OptionGroup() || options_.group_of(option) == group;
}

void OptionLists::list(int first, int last, int type, int in_flight, const OptionGroup& group,
                       std::vector<Option>& options) const {
  std::vector<Option> buffer;
  options.clear();
  for (const Option& option : fitting(first, last, type, buffer))
    if (option.fits >= in_flight && in_group(option, group)) options.push_back(option);
  if (!options.empty()) return;
  options_.list(first, last, type, in_flight, options);
  std::erase_if(options, [&](const Option& option) { return !in_group(option, group); });
}

const OptionLists& Problem::option_lists() const { return option_lists_.of(*this); }

const OptionLists& LazyOptionLists::of(const Problem& problem) const {
  const std::lock_guard lock(mutex_);
  if (!lists_) lists_ = std::make_shared<const OptionLists>(problem);
  return *lists_;
}

}  // namespace stageplan
