// The kernels of each instruction set: each in its own file, under its own compiler target.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/breeding.h"
#include "kernels/option_scorer.h"
#include "kernels/policy_kernels.h"
#include "kernels/scorer.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define STAGEPLAN_X86 1
#include <immintrin.h>

// The functions between STAGEPLAN_TARGET and STAGEPLAN_END_TARGET are compiled for these instructions.
#define STAGEPLAN_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define STAGEPLAN_TARGET(instructions) \
  STAGEPLAN_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define STAGEPLAN_END_TARGET STAGEPLAN_PRAGMA(clang attribute pop)
#else
#define STAGEPLAN_TARGET(instructions) \
  STAGEPLAN_PRAGMA(GCC push_options) STAGEPLAN_PRAGMA(GCC target(instructions))
#define STAGEPLAN_END_TARGET STAGEPLAN_PRAGMA(GCC pop_options)
#endif
#else
#define STAGEPLAN_X86 0
#endif

namespace stageplan::baseline {
std::uint8_t largest_gene(const std::int8_t* genes, size_t count);
bool score_schemes(const KernelInput&, const std::int8_t* schemes, size_t count, const ScoreArrays& scores);
void score_options(const OptionKernelInput&, const std::int8_t* schemes, size_t count,
                   const ScoreArrays& scores);
void breed(const Parents&, const Rng&, size_t from, size_t count, std::int8_t* children);
extern const PolicyKernels<float> policy_float;
extern const PolicyKernels<double> policy_double;
}  // namespace stageplan::baseline
#if STAGEPLAN_X86
namespace stageplan::avx2 {
std::uint8_t largest_gene(const std::int8_t* genes, size_t count);
bool score_schemes(const KernelInput&, const std::int8_t* schemes, size_t count, const ScoreArrays& scores);
void score_options(const OptionKernelInput&, const std::int8_t* schemes, size_t count,
                   const ScoreArrays& scores);
extern const PolicyKernels<float> policy_float;
extern const PolicyKernels<double> policy_double;
}  // namespace stageplan::avx2
namespace stageplan::avx512 {
bool score_schemes(const KernelInput&, const std::int8_t* schemes, size_t count, const ScoreArrays& scores);
void score_options(const OptionKernelInput&, const std::int8_t* schemes, size_t count,
                   const ScoreArrays& scores);
void breed(const Parents&, const Rng&, size_t from, size_t count, std::int8_t* children);
extern const PolicyKernels<float> policy_float;
extern const PolicyKernels<double> policy_double;
}  // namespace stageplan::avx512
#endif
