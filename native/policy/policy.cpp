#include "policy/policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "common/elementary.h"
#include "kernels/instruction_set.h"

namespace stageplan {
namespace {

// Indices of the parts.
enum Place { kShared, kOwn, kPrevious, kRecurrent, kBias, kHead, kHeadBias };

template <class Real>
const PolicyKernels<Real>& kernels() {
  if constexpr (std::is_same_v<Real, float>)
    return instruction_set().policy_float;
  else
    return instruction_set().policy_double;
}

// c += a b for `rows` rows of a and c, which has the stride of b.
template <class Real>
void add_product(size_t rows, const Real* a, size_t a_row, const Matrix<Real>& b, Real* c) {
  kernels<Real>().add_product({rows, b.rows(), b.columns(), a, a_row, 1, b.row(0), b.stride(), c, b.stride()});
}

// c += a^T b, summed over `rows` rows of a and b, in blocks that stay in the cache.
template <class Real>
void add_transposed(size_t rows, const Real* a, size_t a_row, const Real* b, size_t b_row, Matrix<Real>& c) {
  constexpr size_t part = 256;
  for (size_t i = 0; i < rows; i += part)
    kernels<Real>().add_product({c.rows(), std::min(part, rows - i), c.columns(), a + i * a_row, 1, a_row,
                                 b + i * b_row, b_row, c.row(0), c.stride()});
}

// base^exponent, multiplied in the same order on every machine.
double power(double base, std::int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base)
    if (exponent % 2 == 1) result *= base;
  return result;
}

// By blocks, so that whole cache lines are read and written.
template <class Real>
void transpose(const Matrix<Real>& from, size_t rows, size_t columns, Matrix<Real>& to) {
  constexpr size_t block = Matrix<Real>::kLanes;
  for (size_t first = 0; first < columns; first += block)
    for (size_t i = 0; i < rows; ++i)
      for (size_t j = first; j < std::min(first + block, columns); ++j) to.row(j)[i] = from.row(i)[j];
}

}  // namespace

std::array<PolicyShape::Part, 7> PolicyShape::parts() const {
  const int columns = gates() * hidden;
  std::array<Part, 7> parts{{{"input_shared", 0, shared, columns},
                             {"input_own", 0, own, columns},
                             {"input_previous", 0, labels, columns},
                             {"recurrent", 0, hidden, columns},
                             {"bias", 0, 1, columns},
                             {"head", 0, hidden, labels},
                             {"head_bias", 0, 1, labels}}};
  for (size_t i = 1; i < parts.size(); ++i) parts[i].first = parts[i - 1].first + parts[i - 1].size();
  return parts;
}

size_t PolicyShape::weights() const { return parts().back().first + parts().back().size(); }

template <class Real>
std::vector<Real> initial_weights(const PolicyShape& shape, Rng rng) {
  const double bound = 1 / std::sqrt(static_cast<double>(shape.hidden));
  std::vector<Real> weights(shape.weights());
  for (Real& weight : weights) weight = static_cast<Real>((2 * rng.uniform() - 1) * bound);
  return weights;
}

template <class Real>
Rollout<Real>::Rollout(const PolicyShape& shape, int episodes, int steps)
    : shape_(shape),
      episodes_(episodes),
      width_(Matrix<Real>::padded(shape.hidden)),
      columns_(shape.gates() * width_),
      weights_(make_parts()),
      gradient_(make_parts()),
      recurrent_back_(columns_, width_),
      head_back_(shape.labels, width_),
      shared_(steps, shape.shared),
      previous_(steps * episodes_),
      input_((steps + 1) * episodes_, width_ + shape.own),
      gate_(steps * episodes_, columns_),
      same_(1, columns_),
      zeros_(1, columns_),
      padded_logits_(episodes_, shape.labels),
      doutput_(episodes_, width_),
      dcell_(episodes_, width_),
      dhead_(shape.labels, width_),
      sum_(steps, columns_),
      logits_(episodes_ * shape.labels) {
  if (shape.cell == Cell::rnn) return;
  cell_ = Matrix<Real>((steps + 1) * episodes_, width_);
  cell_tanh_ = Matrix<Real>(steps * episodes_, width_);
}

template <class Real>
typename Rollout<Real>::Parts Rollout<Real>::make_parts() const {
  Parts parts;
  for (const Place p : {kShared, kPrevious, kBias}) parts[p] = Matrix<Real>(shape_.parts()[p].rows, columns_);
  for (const Place p : {kHead, kHeadBias}) parts[p] = Matrix<Real>(shape_.parts()[p].rows, shape_.labels);
  parts[kRecurrent] = Matrix<Real>(width_ + shape_.own, columns_);
  return parts;
}

// Calls visit(position in the flat vector, numbers in the padded parts, count) for each contiguous run.
template <class Real>
template <class Visit>
void Rollout<Real>::each_run(Parts& parts, Visit visit) const {
  for (size_t p = 0; p < parts.size(); ++p) {
    const auto [name, first, rows, columns] = shape_.parts()[p];
    const size_t run = p < kHead ? shape_.hidden : shape_.labels;
    for (int row = 0; row < rows; ++row) {
      Real* padded = p == kOwn ? parts[kRecurrent].row(width_ + row) : parts[p].row(row);
      for (size_t i = 0; i * run < static_cast<size_t>(columns); ++i)
        visit(first + row * columns + i * run, padded + i * width_, run);
    }
  }
}

template <class Real>
void Rollout<Real>::begin(const Real* weights) {
  each_run(weights_, [&](size_t flat, Real* padded, size_t run) { std::copy_n(weights + flat, run, padded); });
  transpose(weights_[kRecurrent], shape_.hidden, columns_, recurrent_back_);
  transpose(weights_[kHead], shape_.hidden, shape_.labels, head_back_);
  done_ = 0;
}

template <class Real>
const Real* Rollout<Real>::step(const Real* shared, const Real* own, const int* previous) {
  const size_t first = done_ * episodes_;
  std::copy_n(shared, shape_.shared, shared_.row(done_));
  std::copy_n(previous, episodes_, previous_.data() + first);
  for (size_t e = 0; e < episodes_; ++e)
    std::copy_n(own + e * shape_.own, shape_.own, input_.row(first + e) + width_);
  make_gates();
  activate();
  ++done_;
  return make_logits();
}

// The inputs of the activation functions.
template <class Real>
void Rollout<Real>::make_gates() {
  const size_t first = done_ * episodes_;
  Real* same = same_.row(0);
  std::copy_n(weights_[kBias].row(0), columns_, same);
  add_product<Real>(1, shared_.row(done_), 0, weights_[kShared], same);
  for (size_t e = 0; e < episodes_; ++e) {
    const int label = previous_[first + e];
    const Real* chosen = label < 0 ? zeros_.row(0) : weights_[kPrevious].row(label);
    kernels<Real>().add(same, chosen, gate_.row(first + e), columns_);
  }
  add_product(episodes_, input_.row(first), input_.stride(), weights_[kRecurrent], gate_.row(first));
}

template <class Real>
void Rollout<Real>::activate() {
  for (size_t i = done_ * episodes_; i < (done_ + 1) * episodes_; ++i) {
    Real* output = input_.row(i + episodes_);
    if (shape_.cell == Cell::rnn)
      kernels<Real>().rnn(gate_.row(i), output, width_);
    else
      kernels<Real>().lstm({gate_.row(i), cell_.row(i), cell_.row(i + episodes_), cell_tanh_.row(i), output},
                           width_);
  }
}

template <class Real>
const Real* Rollout<Real>::make_logits() {
  for (size_t e = 0; e < episodes_; ++e)
    std::copy_n(weights_[kHeadBias].row(0), padded_logits_.stride(), padded_logits_.row(e));
  add_product(episodes_, input_.row(done_ * episodes_), input_.stride(), weights_[kHead],
              padded_logits_.row(0));
  for (size_t e = 0; e < episodes_; ++e)
    std::copy_n(padded_logits_.row(e), shape_.labels, logits_.data() + e * shape_.labels);
  return logits_.data();
}

template <class Real>
void Rollout<Real>::backward(const Real* dlogits, Real* gradient) {
  for (Matrix<Real>& part : gradient_) part.fill(0);
  dcell_.fill(0);
  for (int step = done_ - 1; step >= 0; --step) step_back(step, dlogits + step * episodes_ * shape_.labels);
  input_gradients();
  head_gradients(dlogits);
  each_run(gradient_, [&](size_t flat, const Real* part, size_t run) {
    for (size_t i = 0; i < run; ++i) gradient[flat + i] += part[i];
  });
}

// Replaces gates by the gradients of the inputs of their activation functions.
template <class Real>
void Rollout<Real>::step_back(int step, const Real* dlogits) {
  const size_t first = step * episodes_;
  doutput_.fill(0);
  if (step + 1 < done_)
    add_product(episodes_, gate_.row(first + episodes_), gate_.stride(), recurrent_back_, doutput_.row(0));
  add_product(episodes_, dlogits, shape_.labels, head_back_, doutput_.row(0));
  for (size_t e = 0; e < episodes_; ++e) {
    Real* gate = gate_.row(first + e);
    if (shape_.cell == Cell::rnn)
      kernels<Real>().rnn_back(gate, doutput_.row(e), width_);
    else
      kernels<Real>().lstm_back(
          {gate, cell_.row(first + e), cell_tanh_.row(first + e), doutput_.row(e), dcell_.row(e)}, width_);
  }
}

template <class Real>
void Rollout<Real>::input_gradients() {
  const size_t rows = done_ * episodes_;
  const auto add_to = [&](Real* sum, const Real* gate) { kernels<Real>().add(sum, gate, sum, columns_); };
  sum_.fill(0);
  for (size_t i = 0; i < rows; ++i) {
    add_to(sum_.row(i / episodes_), gate_.row(i));
    if (previous_[i] >= 0) add_to(gradient_[kPrevious].row(previous_[i]), gate_.row(i));
  }
  for (int step = 0; step < done_; ++step) add_to(gradient_[kBias].row(0), sum_.row(step));
  add_transposed(done_, shared_.row(0), shared_.stride(), sum_.row(0), sum_.stride(), gradient_[kShared]);
  add_transposed(rows, input_.row(0), input_.stride(), gate_.row(0), gate_.stride(), gradient_[kRecurrent]);
}

template <class Real>
void Rollout<Real>::head_gradients(const Real* dlogits) {
  const size_t rows = done_ * episodes_, labels = shape_.labels;
  dhead_.fill(0);
  add_transposed(rows, dlogits, labels, input_.row(episodes_), input_.stride(), dhead_);
  transpose(dhead_, labels, shape_.hidden, gradient_[kHead]);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < labels; ++j) gradient_[kHeadBias].row(0)[j] += dlogits[i * labels + j];
}

template <class Real>
double Adam<Real>::update(Real* weights, const Real* gradient, double rate, double clip) {
  const double norm = std::sqrt(static_cast<double>(kernels<Real>().sum_of_squares(gradient, first.size())));
  ++steps;
  const auto real = [](double x) { return static_cast<Real>(x); };
  const AdamStep<Real> step{real(std::min(1.0, clip / (norm + 1e-6))),
                            real(1 - kFirst),
                            real(kSecond),
                            real(1 - kSecond),
                            real(rate / (1 - power(kFirst, steps))),
                            real(std::sqrt(1 - power(kSecond, steps))),
                            real(kEpsilon)};
  kernels<Real>().adam(step, first.size(), gradient, first.data(), second.data(), weights);
  return norm;
}

template <class Real>
void softmax(Real* values, int labels, int rows) {
  Real* end = values + static_cast<size_t>(labels) * rows;
  for (Real* row = values; row < end; row += labels) {
    const Real largest = *std::max_element(row, row + labels);
    for (int i = 0; i < labels; ++i) row[i] -= largest;
  }
  for (Real* value = values; value < end; ++value) *value = portable::exp(*value);
  for (Real* row = values; row < end; row += labels) {
    Real sum = 0;
    for (int i = 0; i < labels; ++i) sum += row[i];
    for (int i = 0; i < labels; ++i) row[i] /= sum;
  }
}

template <class Real>
int draw(const Real* probabilities, int labels, double uniform) {
  double sum = 0;
  int last = 0;
  for (int i = 0; i < labels; ++i) {
    if (probabilities[i] <= 0) continue;
    last = i;
    sum += probabilities[i];
    if (uniform < sum) break;
  }
  return last;  // also if rounding left the sum below
}

template class Rollout<float>;
template class Rollout<double>;
template struct Adam<float>;
template struct Adam<double>;
template std::vector<float> initial_weights(const PolicyShape&, Rng);
template std::vector<double> initial_weights(const PolicyShape&, Rng);
template void softmax(float*, int, int);
template void softmax(double*, int, int);
template int draw(const float*, int, double);
template int draw(const double*, int, double);

}  // namespace stageplan
