// The inner loops of a policy's network: each instruction set has its own kernels.
#pragma once

#include <cstddef>

namespace stageplan {

// c (rows, columns) += a (rows, inner) b (inner, columns), summed over `inner` in order. `columns` is a
// multiple of Matrix::kLanes; a may be transposed: both of its strides are given.
template <class Real>
struct Product {
  size_t rows, inner, columns;
  const Real* a;
  size_t a_row, a_inner;
  const Real* b;
  size_t b_row;
  Real* c;
  size_t c_row;
};

// An LSTM cell of one episode at one step: arrays of `width` numbers.
template <class Real>
struct CellState {
  Real* gate;  // (gates, width): inputs of the activations, replaced by their outputs
  const Real* cell_before;
  Real *cell, *cell_tanh, *output;
};

// Its gradients, from those of output and cell. The gates' activations are replaced by the gradients of their
// inputs; the cell's gradient by that of the previous cell.
template <class Real>
struct CellGradient {
  Real* gate;
  const Real *cell_before, *cell_tanh, *doutput;
  Real* dcell;
};

// A step of Adam: weights of the new values in the moments; the root of the second moment is divided by `root`.
template <class Real>
struct AdamStep {
  Real scale;  // of the gradient
  Real new_first, old_second, new_second, rate, root, epsilon;
};

template <class Real>
struct PolicyKernels {
  void (*add_product)(const Product<Real>&);
  void (*add)(const Real* a, const Real* b, Real* sum, size_t count);
  void (*lstm)(const CellState<Real>&, size_t width);
  void (*lstm_back)(const CellGradient<Real>&, size_t width);
  void (*rnn)(Real* gate, Real* output, size_t width);
  void (*rnn_back)(Real* gate, const Real* doutput, size_t width);
  Real (*sum_of_squares)(const Real*, size_t count);
  void (*adam)(const AdamStep<Real>&, size_t count, const Real* gradient, Real* first, Real* second,
               Real* weights);
};

}  // namespace stageplan
