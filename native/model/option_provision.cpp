#include "model/option_provision.h"

#include <algorithm>

#include "common/stop.h"
#include "model/listed_provision.h"
#include "model/provision.h"

namespace stageplan {

OptionProvisioner::OptionProvisioner(const Problem& problem)
    : problem_(problem), lists_(problem.option_lists()), schedule_choice_(problem), plan_(problem) {
  if (ListedProvisioner::serves(problem)) listed_ = std::make_unique<ListedProvisioner>(problem);
}

OptionProvisioner::~OptionProvisioner() = default;

// Lists the options of each stage; if one has none, gives it an option without devices and returns false.
bool OptionProvisioner::list_options(const std::vector<Stage>& stages, const OptionGroup& group) {
  bool complete = true;
  stages_.resize(stages.size());
  for (size_t s = 0; s < stages.size(); ++s) {
    const auto& [label, type, first, last, load] = stages[s];
    const int in_flight = lists_.options().in_flight(static_cast<int>(stages.size() - s));
    stages_[s].type = type;
    lists_.list(first, last, type, in_flight, group, stages_[s].options);
    if (stages_[s].options.empty()) {
      Option missing{};
      missing.column = -1;
      missing.violation = Options::missing(first, last);
      stages_[s].options.push_back(missing);
      complete = false;
    }
  }
  return complete;
}

Score OptionProvisioner::score() {
  plan_.clear();
  for (size_t s = 0; s < stages_.size(); ++s) plan_.add(stages_[s].options[choice_[s]], stages_[s].type);
  return plan_.score();
}

// The best of the groups that have an option for every stage, or of all if there is none; the first among ties.
template <class Choose>
Score OptionProvisioner::best_group(const std::vector<Stage>& stages, Choose choose) {
  Score best;
  bool complete = false;
  chosen_.clear();
  for (const OptionGroup& group : lists_.options().groups()) {
    check_stop();
    const bool now_complete = list_options(stages, group);
    if (complete && !now_complete) continue;
    choose();
    const Score now = score();
    const bool first = chosen_.empty() || complete != now_complete;
    if (!first && !improves_beyond_tie(problem_, now, best)) continue;
    complete = now_complete;
    best = now;
    chosen_.clear();
    for (size_t s = 0; s < stages_.size(); ++s) chosen_.push_back(stages_[s].options[choice_[s]]);
  }
  return best;
}

void OptionProvisioner::choose_fitting(double time) {
  choice_.clear();
  for (const StageOptions& stage : stages_) {
    const std::vector<Option>& options = stage.options;
    const auto fits = [&](const Option& option) { return meets(option.time, time); };
    const auto faster = [](const Option& a, const Option& b) { return a.time < b.time; };
    auto option = std::find_if(options.begin(), options.end(), fits);
    if (option == options.end()) option = std::min_element(options.begin(), options.end(), faster);
    choice_.push_back(static_cast<int>(option - options.begin()));
  }
}

Score OptionProvisioner::reach(const std::vector<Stage>& stages, double time) {
  return best_group(stages, [&] { choose_fitting(time); });
}

Score OptionProvisioner::best(const std::vector<Stage>& stages, std::uint64_t most_work) {
  complete_ = true;
  if (listed_) {
    if (const std::optional<Score> score = listed_->best(stages)) {
      chosen_ = listed_->chosen();
      return *score;
    }
  }
  return best_group(stages, [&] {
    if (problem_.columns->schedule == Schedule::none) return choose_without_schedule();
    choice_ = schedule_choice_.choose(stages_, most_work);
    complete_ = complete_ && schedule_choice_.complete();
  });
}

double OptionProvisioner::slowest() const {
  double time = 0;
  for (size_t s = 0; s < stages_.size(); ++s) time = std::max(time, stages_[s].options[choice_[s]].time);
  return time;
}

// Every useful choice has the fewest devices for some stage time: a walk that gives the slowest stage its next
// option visits all of them.
void OptionProvisioner::choose_without_schedule() {
  choose_fitting(problem_.goal_time());
  if (const double time = slowest(); !meets(time, problem_.goal_time())) return choose_fitting(time);
  best_choice_ = choice_;
  times_.clear();
  for (size_t s = 0; s < stages_.size(); ++s)
    times_.emplace_back(stages_[s].options[choice_[s]].time, -static_cast<int>(s));
  std::make_heap(times_.begin(), times_.end());
  double fastest = 0;  // lower bound of the stage time
  double violation = excess(static_cast<double>(stages_.size()), problem_.columns->max_stages);
  for (const StageOptions& stage : stages_) {
    fastest = std::max(fastest, stage.options.back().time);
    violation += stage.options.back().violation;
  }
  Score best = score();
  while (add_devices()) {
    check_stop_often();
    if (const Score now = score(); improves_beyond_tie(problem_, now, best)) {
      best = now;
      best_choice_ = choice_;
    }
    const Score least = price_plan(problem_, plan_.rented().data(), fastest, violation);
    if (!improves_beyond_tie(problem_, least, best)) break;
  }
  choice_ = best_choice_;
}

// Returns false if the slowest stage has no faster option.
bool OptionProvisioner::add_devices() {
  const int s = -times_.front().second;
  if (choice_[s] + 1 == static_cast<int>(stages_[s].options.size())) return false;
  ++choice_[s];
  std::pop_heap(times_.begin(), times_.end());
  times_.back().first = stages_[s].options[choice_[s]].time;
  std::push_heap(times_.begin(), times_.end());
  return true;
}

}  // namespace stageplan
