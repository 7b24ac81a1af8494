// Dense matrices whose rows are padded with zeros, so that kernels need no remainder loops.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace stageplan {

template <class Real>
class Matrix {
 public:
  static constexpr size_t kLanes = 16;  // columns are padded to a multiple

  static constexpr size_t padded(size_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

  Matrix() = default;
  Matrix(size_t rows, size_t columns)
      : rows_(rows), columns_(padded(columns)), stride_(spread(columns_)), lines_(rows * stride_ / kLanes) {}

  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }  // padded
  size_t stride() const { return stride_; }    // the same for all matrices with as many columns
  Real* row(size_t i) { return reinterpret_cast<Real*>(lines_.data()) + i * stride_; }
  const Real* row(size_t i) const { return reinterpret_cast<const Real*>(lines_.data()) + i * stride_; }

  void fill(Real value) { std::fill_n(row(0), rows_ * stride_, value); }

 private:
  struct alignas(64) Line {
    Real lane[kLanes] = {};
  };

  // Pads strides of a multiple of 8 lines, with which parts of successive rows would share few cache sets.
  static constexpr size_t spread(size_t columns) {
    return columns > 0 && columns % (8 * kLanes) == 0 ? columns + kLanes : columns;
  }

  size_t rows_ = 0, columns_ = 0, stride_ = 0;
  std::vector<Line> lines_;
};

}  // namespace stageplan
