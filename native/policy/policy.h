// The network of a policy: a recurrent cell over the steps of many episodes, and logits of the labels at each.
//
// The input of a step is a vector shared by all episodes, one of each episode and its previous choice. The
// activations of a step are kept for `Rollout::backward`, backpropagation through time. All sums are made in
// one order on every instruction set, so that the same weights give the same bits on each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/matrix.h"
#include "common/rng.h"

namespace stageplan {

enum class Cell { lstm, rnn };

struct PolicyShape {
  Cell cell = Cell::lstm;
  int shared = 0, own = 0;  // sizes of the inputs of a step: shared by all episodes, and of each
  int labels = 1;
  int hidden = 1;

  // A matrix of weights, row-major, in the flat weight vector.
  struct Part {
    const char* name;
    size_t first;
    int rows, columns;

    size_t size() const { return static_cast<size_t>(rows) * columns; }
  };

  // input_shared, input_own, input_previous, recurrent, bias, head, head_bias. The columns of the first five
  // are those of the gates: input, forget, cell, output (as in torch), `hidden` each.
  std::array<Part, 7> parts() const;
  int gates() const { return cell == Cell::lstm ? 4 : 1; }
  size_t weights() const;  // of all parts
};

// Uniform within 1 / sqrt(hidden), as torch initialises.
template <class Real>
std::vector<Real> initial_weights(const PolicyShape& shape, Rng rng);

// Episodes that run through the same steps side by side.
template <class Real>
class Rollout {
 public:
  // Memory: about 7 * hidden * episodes * steps numbers.
  Rollout(const PolicyShape& shape, int episodes, int steps);

  // Resets to before the first step, with other weights: `shape.weights()` numbers, which are copied.
  void begin(const Real* weights);

  // The logits (episodes, labels) of the next step, valid until the next call. `shared`: input of the step;
  // `own`: (episodes, own); `previous`: a label of each episode, or -1 for none.
  const Real* step(const Real* shared, const Real* own, const int* previous);

  // Adds to `gradient`, flat as the weights, the gradient that follows from that of the logits: (steps done,
  // episodes, labels). To be called once after the last step.
  void backward(const Real* dlogits, Real* gradient);

  int steps_done() const { return done_; }

 private:
  // As PolicyShape::parts(), with the columns of each gate padded; the rows of `own` follow those of
  // `recurrent`.
  using Parts = std::array<Matrix<Real>, 7>;

  Parts make_parts() const;
  template <class Visit>
  void each_run(Parts& parts, Visit visit) const;
  void make_gates();
  void activate();
  const Real* make_logits();
  void step_back(int step, const Real* dlogits);
  void input_gradients();
  void head_gradients(const Real* dlogits);

  PolicyShape shape_;
  size_t episodes_, width_, columns_;  // width: of a gate, padded; columns: of all gates
  int done_ = 0;
  Parts weights_, gradient_;
  Matrix<Real> recurrent_back_, head_back_;     // transposed
  Matrix<Real> shared_;                         // (steps, shared)
  std::vector<int> previous_;                   // (steps, episodes)
  Matrix<Real> input_;                          // (steps + 1, episodes): previous output, zeros at first; own
  Matrix<Real> gate_, cell_, cell_tanh_;        // (steps, episodes); cell: after a step of zeros
  Matrix<Real> same_, zeros_, padded_logits_;   // of one step
  Matrix<Real> doutput_, dcell_, dhead_, sum_;  // gradients; sum: of a step's gates over its episodes
  std::vector<Real> logits_;
};

// Adam (Kingma, Ba 2015) with the norm of the gradient clipped.
template <class Real>
struct Adam {
  static constexpr double kFirst = 0.9, kSecond = 0.999, kEpsilon = 1e-8;

  std::vector<Real> first, second;  // moments
  std::int64_t steps = 0;

  explicit Adam(size_t weights) : first(weights), second(weights) {}

  // One step against the gradient; returns the gradient's norm before it was clipped.
  double update(Real* weights, const Real* gradient, double rate, double clip);
};

// Logits to probabilities, in place, for each row of `labels`; -inf becomes 0; at least one must be finite.
template <class Real>
void softmax(Real* values, int labels, int rows = 1);

// The label drawn by `uniform`, from [0, 1); never one of probability 0.
template <class Real>
int draw(const Real* probabilities, int labels, double uniform);

}  // namespace stageplan
