// exp, log, tanh and the logistic function from additions, multiplications, divisions and bit operations only,
// so that results are the same on every processor (library versions differ), and branch-free, so that loops
// over them are vectorised. Errors: exp and log below 1.25 units in the last place, the others below 3.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace stageplan::portable {

// Bit layout of a floating-point format, and ln(2) split into a short leading part and the remainder.
template <class Real>
struct Format;

template <>
struct Format<float> {
  using Bits = std::uint32_t;
  static constexpr int kFraction = 23;  // bits
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.1219444005469058e-4f;
  static constexpr float kMinExponent = -87.336544f, kMaxExponent = 88.722839f;  // of normal results
};

template <>
struct Format<double> {
  using Bits = std::uint64_t;
  static constexpr int kFraction = 52;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 1.9082149292705878e-10;
  static constexpr double kMinExponent = -708.39641853226408, kMaxExponent = 709.78271289338397;
};

template <class Real>
using BitsOf = typename Format<Real>::Bits;

template <class Real>
inline BitsOf<Real> to_bits(Real x) {
  return std::bit_cast<BitsOf<Real>>(x);
}

template <class Real>
constexpr Real polynomial(Real, Real coefficient) {
  return coefficient;
}
template <class Real, class... Rest>
constexpr Real polynomial(Real x, Real coefficient, Rest... rest) {
  return coefficient + x * polynomial(x, rest...);
}

// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, interpolated at Chebyshev nodes.
inline float exp_rest(float r) {
  return polynomial(r, 0.5f, 0.16666577f, 0.041666555f, 0.008363179f, 0.0013926184f);
}
inline double exp_rest(double r) {
  return polynomial(r, 0.5, 0.16666666666666670991, 0.041666666666666669755, 0.0083333333333261351258,
                    0.0013888888888883748305, 0.00019841269874820625271, 0.000024801587325547741216,
                    2.755725540020642443e-6, 2.7557273643110295328e-7, 2.5105217004720745164e-8,
                    2.0914686968086877233e-9);
}

// (2 atanh(s) - 2 s) / s^3 as a function of s^2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1), likewise.
inline float atanh_rest(float s2) { return polynomial(s2, 0.66666685f, 0.39988778f, 0.29580053f); }
inline double atanh_rest(double s2) {
  return polynomial(s2, 0.66666666666666696883, 0.39999999999899443233, 0.28571428626003268742,
                    0.22222211130259877029, 0.18182889455674946039, 0.15331710618210771568,
                    0.14616585424888621989);
}

// e^x = 2^n (1 + rest); n is shifted so that adding it to the bits of a number adds to its exponent.
template <class Real>
struct Power {
  BitsOf<Real> n;
  Real rest;

  explicit Power(Real x) {
    using F = Format<Real>;
    constexpr Real shift = static_cast<Real>(3 * (std::int64_t{1} << (F::kFraction - 1)));
    const Real turns = x * static_cast<Real>(1.4426950408889634074) + shift;  // rounded to an integer
    const Real whole = turns - shift;
    const Real r = (x - whole * F::kLn2High) - whole * F::kLn2Low;
    n = to_bits(turns) << F::kFraction;
    rest = r + r * r * exp_rest(r);
  }
};

// Returns 0 where the result would be below the smallest normal number.
template <class Real>
inline Real exp(Real x) {
  using F = Format<Real>;
  const Power<Real> power(x);
  const Real value = std::bit_cast<Real>(to_bits(1 + power.rest) + power.n);
  const Real bounded = x > F::kMaxExponent ? std::numeric_limits<Real>::infinity() : value;
  const Real result = x < F::kMinExponent ? Real{0} : bounded;
  return x == x ? result : x;
}

template <class Real>
inline Real log(Real x) {
  using F = Format<Real>;
  using Signed = std::make_signed_t<BitsOf<Real>>;
  constexpr Real smallest = std::numeric_limits<Real>::min(), infinity = std::numeric_limits<Real>::infinity();
  constexpr Real scale = static_cast<Real>(std::int64_t{1} << (F::kFraction + 1));
  const bool small = x < smallest;
  const BitsOf<Real> bits = to_bits(small ? x * scale : x);
  const BitsOf<Real> half = to_bits(static_cast<Real>(0.70710678118654752440));
  const auto turns = static_cast<Signed>(bits - half) >> F::kFraction;
  const Real whole = static_cast<Real>(turns) - (small ? Real{F::kFraction + 1} : Real{0});
  const Real f = std::bit_cast<Real>(bits - (static_cast<BitsOf<Real>>(turns) << F::kFraction)) - 1;
  const Real s = f / (2 + f), square = f * f / 2, s2 = s * s;
  const Real rest = s * (square + s2 * atanh_rest(s2)) + whole * F::kLn2Low;
  const Real value = whole * F::kLn2High - ((square - rest) - f);
  const Real positive = x > 0 ? value : x == 0 ? -infinity : std::numeric_limits<Real>::quiet_NaN();
  return x < infinity ? positive : x;
}

// 1 / (1 + e^-x)
template <class Real>
inline Real logistic(Real x) {
  const Real power = exp(-std::fabs(x));
  return (x < 0 ? power : Real{1}) / (1 + power);
}

template <class Real>
inline Real tanh(Real x) {
  constexpr Real enough = -40;  // tanh is 1 there
  const Real twice = -2 * std::fabs(x);
  const Power<Real> power(twice < enough ? enough : twice);
  const Real scale = std::bit_cast<Real>(to_bits(Real{1}) + power.n);
  const Real minus_one = scale * power.rest + (scale - 1);  // e^twice - 1
  return std::copysign(minus_one / (minus_one + 2), x);
}

}  // namespace stageplan::portable
