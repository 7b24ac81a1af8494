#include "placement/placement.h"

#include <algorithm>

namespace stageplan {
namespace {

std::vector<int> ends_of(const Tensor& tensor) {
  std::vector<int> ends = tensor.consumers;
  ends.push_back(tensor.producer);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return ends;
}

bool any(const std::vector<double>& values) {
  return std::any_of(values.begin(), values.end(), [](double x) { return x > 0; });
}

}  // namespace

Placement::Placement(const Problem& problem)
    : problem_(problem),
      labels_(problem.labels()),
      chained_(any(problem.send) || any(problem.receive)),
      tensors_of_(problem.layers),
      held_(problem.tensors.size() * labels_),
      loads_(labels_),
      layers_of_(labels_) {
  for (const Tensor& tensor : problem.tensors) {
    for (int layer : ends_.emplace_back(ends_of(tensor)))
      tensors_of_[layer].push_back(static_cast<int>(ends_.size()) - 1);
  }
}

double Placement::send(int layer, int label) const {
  return problem_.send[static_cast<size_t>(layer) * problem_.types + problem_.type_of(label)];
}

double Placement::receive(int layer, int label) const {
  return problem_.receive[static_cast<size_t>(layer) * problem_.types + problem_.type_of(label)];
}

void Placement::load(const std::int8_t* scheme) {
  keep();
  scheme_.assign(scheme, scheme + problem_.layers);
  std::fill(loads_.begin(), loads_.end(), StageLoad());
  std::fill(layers_of_.begin(), layers_of_.end(), 0);
  std::fill(held_.begin(), held_.end(), 0);
  for (int l = 0; l < problem_.layers; ++l) {
    const int label = scheme[l];
    ++layers_of_[label];
    add_layer(problem_, loads_[label], l, problem_.type_of(label));
    for (int i : tensors_of_[l]) ++held_[i * labels_ + label];
    if (l > 0 && scheme[l - 1] != label) pay(label, receive(l, label));
    if (l + 1 < problem_.layers && scheme[l + 1] != label) pay(label, send(l, label));
  }
  for (size_t i = 0; i < ends_.size(); ++i) {
    const int size = static_cast<int>(ends_[i].size());
    for (size_t label = 0; label < labels_; ++label)
      if (const int held = held_[i * labels_ + label]; held > 0 && held < size)
        pay(static_cast<int>(label), problem_.tensors[i].bytes / problem_.bandwidth[problem_.type_of(label)]);
  }
}

void Placement::touch(int label) {
  if (std::find(touched_.begin(), touched_.end(), label) != touched_.end()) return;
  touched_.push_back(label);
  saved_.push_back(loads_[label]);
}

// Updates everything except the loads.
void Placement::relabel(int layer, int label) {
  const int from = scheme_[layer];
  --layers_of_[from];
  ++layers_of_[label];
  scheme_[layer] = static_cast<std::int8_t>(label);
  for (int i : tensors_of_[layer]) {
    --held_[i * labels_ + from];
    ++held_[i * labels_ + label];
  }
}

void Placement::move(int layer, int label) {
  const int from = scheme_[layer];
  if (label == from) return;
  touch(from);
  touch(label);
  moves_.emplace_back(layer, from);
  move_layer(layer, from, label);
  move_tensors(layer, from, label);
  if (chained_) move_ends(layer, from, label);
  relabel(layer, label);
  if (layers_of_[from] == 0) loads_[from] = {};
}

void Placement::move_layer(int layer, int from, int to) {
  StageLoad gone;
  add_layer(problem_, gone, layer, problem_.type_of(from));
  StageLoad& load = loads_[from];
  load.serial_compute -= gone.serial_compute;
  load.parallel_compute -= gone.parallel_compute;
  load.memory -= gone.memory;
  load.unsupported -= gone.unsupported;
  add_layer(problem_, loads_[to], layer, problem_.type_of(to));
}

// A tensor crosses the boundary of a label that holds some of its ends, but not all.
void Placement::move_tensors(int layer, int from, int to) {
  double bytes_from = 0, bytes_to = 0;
  for (int i : tensors_of_[layer]) {
    const int size = static_cast<int>(ends_[i].size());
    const int held_from = held_[i * labels_ + from], held_to = held_[i * labels_ + to];
    bytes_from += ((held_from > 1) - (held_from < size)) * problem_.tensors[i].bytes;
    bytes_to += ((held_to + 1 < size) - (held_to > 0)) * problem_.tensors[i].bytes;
  }
  pay(from, bytes_from / problem_.bandwidth[problem_.type_of(from)]);
  pay(to, bytes_to / problem_.bandwidth[problem_.type_of(to)]);
}

// The transfers between the layer and the adjacent ones.
void Placement::move_ends(int layer, int from, int to) {
  if (layer > 0) {
    const int other = scheme_[layer - 1];
    if (other != from) pay(from, -receive(layer, from));
    if (other != to) pay(to, receive(layer, to));
    if (other == from) pay(from, send(layer - 1, from));
    if (other == to) pay(to, -send(layer - 1, to));
  }
  if (layer + 1 < problem_.layers) {
    const int other = scheme_[layer + 1];
    if (other != from) pay(from, -send(layer, from));
    if (other != to) pay(to, send(layer, to));
    if (other == from) pay(from, receive(layer + 1, from));
    if (other == to) pay(to, -receive(layer + 1, to));
  }
}

void Placement::keep() {
  moves_.clear();
  touched_.clear();
  saved_.clear();
}

void Placement::undo() {
  for (; !moves_.empty(); moves_.pop_back()) relabel(moves_.back().first, moves_.back().second);
  for (size_t i = 0; i < touched_.size(); ++i) loads_[touched_[i]] = saved_[i];
  keep();
}

int Placement::neighbour(int layer, Rng& rng) const {
  const std::vector<int>& tensors = tensors_of_[layer];
  const int beside = chained_ || tensors.empty() ? 2 : 0;
  const int pick = rng.below(static_cast<int>(tensors.size()) + beside);
  if (pick < beside) return std::clamp(layer + 2 * pick - 1, 0, problem_.layers - 1);
  const std::vector<int>& ends = ends_[tensors[pick - beside]];
  return ends[rng.below(static_cast<int>(ends.size()))];
}

}  // namespace stageplan
