// Kernels of a policy, written once: each instruction set includes this file in its own namespace and under its
// own compiler target. STAGEPLAN_LANE_BYTES is the size of its registers.
//
// Each sum is accumulated in order by a single accumulator, whatever the size of registers; all else is
// element-wise. So results have the same bits on every instruction set.

namespace {

#if defined(__GNUC__)
template <class Real>
struct LanesOf {
  typedef Real type __attribute__((vector_size(STAGEPLAN_LANE_BYTES), aligned(alignof(Real)), may_alias));
};
#else
template <class Real>
struct LanesOf {
  using type = Real;
};
#endif

template <class Real>
using Lanes = typename LanesOf<Real>::type;

template <class Real>
constexpr size_t kLanes = sizeof(Lanes<Real>) / sizeof(Real);

// Sums kept in registers at a time: measured. AVX-512 multiplies by a memory operand, so that one vector at a
// time leaves its registers to the sums.
constexpr size_t kBlockRows = STAGEPLAN_LANE_BYTES == 64 ? 16 : 4;
constexpr size_t kBlockVectors = STAGEPLAN_LANE_BYTES == 64 ? 1 : 2;

// A block of Rows x Vectors registers of c, from row and column on. Loops over registers are unrolled, else the
// sums would be kept in memory.
template <size_t Rows, size_t Vectors, class Real>
inline void add_block(const Product<Real>& p, size_t row, size_t column) {
  using V = Lanes<Real>;
  constexpr size_t width = kLanes<Real>;
  const size_t inner = p.inner, a_row = p.a_row, a_inner = p.a_inner, b_row = p.b_row, c_row = p.c_row;
  const Real* a = p.a + row * a_row;
  const Real* b = p.b + column;
  Real* c = p.c + row * c_row + column;
  V sum[Rows][Vectors];
#pragma GCC unroll 16
  for (size_t i = 0; i < Rows; ++i)
#pragma GCC unroll 16
    for (size_t v = 0; v < Vectors; ++v) sum[i][v] = *reinterpret_cast<const V*>(c + i * c_row + v * width);
  for (size_t k = 0; k < inner; ++k, a += a_inner, b += b_row) {
    V line[Vectors];
#pragma GCC unroll 16
    for (size_t v = 0; v < Vectors; ++v) line[v] = *reinterpret_cast<const V*>(b + v * width);
#pragma GCC unroll 16
    for (size_t i = 0; i < Rows; ++i)
#pragma GCC unroll 16
      for (size_t v = 0; v < Vectors; ++v) sum[i][v] += a[i * a_row] * line[v];
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < Rows; ++i)
#pragma GCC unroll 16
    for (size_t v = 0; v < Vectors; ++v) *reinterpret_cast<V*>(c + i * c_row + v * width) = sum[i][v];
}

template <size_t Vectors, class Real>
inline void add_columns(const Product<Real>& p, size_t column) {
  size_t row = 0;
  for (; row + kBlockRows <= p.rows; row += kBlockRows) add_block<kBlockRows, Vectors>(p, row, column);
  for (; row + 4 <= p.rows; row += 4) add_block<4, Vectors>(p, row, column);
  for (; row < p.rows; ++row) add_block<1, Vectors>(p, row, column);
}

template <class Real>
void add_product(const Product<Real>& p) {
  constexpr size_t width = kLanes<Real>;
  size_t column = 0;
  for (; column + kBlockVectors * width <= p.columns; column += kBlockVectors * width)
    add_columns<kBlockVectors>(p, column);
  for (; column < p.columns; column += width) add_columns<1>(p, column);
}

template <class Real>
void add(const Real* a, const Real* b, Real* sum, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) sum[i] = a[i] + b[i];
}

template <class Real>
void lstm(const CellState<Real>& state, size_t width) {
  const auto [in, before, cell, cell_tanh, output] = state;
  Real *forget = in + width, *fresh = forget + width, *out = fresh + width;
#pragma GCC ivdep
  for (size_t j = 0; j < width; ++j) {
    in[j] = portable::logistic(in[j]);
    forget[j] = portable::logistic(forget[j]);
    fresh[j] = portable::tanh(fresh[j]);
    out[j] = portable::logistic(out[j]);
    cell[j] = forget[j] * before[j] + in[j] * fresh[j];
    cell_tanh[j] = portable::tanh(cell[j]);
    output[j] = out[j] * cell_tanh[j];
  }
}

template <class Real>
void lstm_back(const CellGradient<Real>& back, size_t width) {
  const auto [in, before, cell_tanh, doutput, dcell] = back;
  Real *forget = in + width, *fresh = forget + width, *out = fresh + width;
#pragma GCC ivdep
  for (size_t j = 0; j < width; ++j) {
    const Real i = in[j], f = forget[j], g = fresh[j], o = out[j], t = cell_tanh[j];
    const Real dc = dcell[j] + doutput[j] * o * (1 - t * t);
    in[j] = dc * g * (i * (1 - i));
    forget[j] = dc * before[j] * (f * (1 - f));
    fresh[j] = dc * i * (1 - g * g);
    out[j] = doutput[j] * t * (o * (1 - o));
    dcell[j] = dc * f;
  }
}

template <class Real>
void rnn(Real* __restrict gate, Real* __restrict output, size_t width) {
  for (size_t j = 0; j < width; ++j) output[j] = gate[j] = portable::tanh(gate[j]);
}

template <class Real>
void rnn_back(Real* __restrict gate, const Real* __restrict doutput, size_t width) {
  for (size_t j = 0; j < width; ++j) gate[j] = doutput[j] * (1 - gate[j] * gate[j]);
}

// Sixteen sums side by side, then added in order.
template <class Real>
Real sum_of_squares(const Real* values, size_t count) {
  constexpr size_t sums = 16;
  Real sum[sums] = {};
  size_t i = 0;
  for (; i + sums <= count; i += sums)
    for (size_t j = 0; j < sums; ++j) sum[j] += values[i + j] * values[i + j];
  for (; i < count; ++i) sum[i % sums] += values[i] * values[i];
  Real total = 0;
  for (const Real part : sum) total += part;
  return total;
}

template <class Real>
void adam(const AdamStep<Real>& step, size_t count, const Real* __restrict gradient, Real* __restrict first,
          Real* __restrict second, Real* __restrict weights) {
  const auto [scale, new_first, old_second, new_second, rate, root, epsilon] = step;
  for (size_t i = 0; i < count; ++i) {
    const Real g = gradient[i] * scale;
    first[i] += (g - first[i]) * new_first;
    second[i] = second[i] * old_second + g * g * new_second;
    weights[i] -= rate * (first[i] / (std::sqrt(second[i]) / root + epsilon));
  }
}

template <class Real>
constexpr PolicyKernels<Real> kernels() {
  return {add_product<Real>, add<Real>,      lstm<Real>,           lstm_back<Real>,
          rnn<Real>,         rnn_back<Real>, sum_of_squares<Real>, adam<Real>};
}

}  // namespace

const PolicyKernels<float> policy_float = kernels<float>();
const PolicyKernels<double> policy_double = kernels<double>();
