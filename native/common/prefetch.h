// Asks for memory that will be read soon, so that it is in the cache by then.
#pragma once

#if defined(_M_X64) && !defined(__clang__)
#include <intrin.h>
#endif

namespace stageplan {

inline void prefetch(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(address);
#elif defined(_M_X64)
  _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T0);
#else
  static_cast<void>(address);
#endif
}

}  // namespace stageplan
