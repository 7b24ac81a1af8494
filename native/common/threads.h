// Loops over several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "common/stop.h"

namespace stageplan {

// Atomic minimum: in the end `value` is the least number that any thread gave.
template <class Number>
void lower_to(std::atomic<Number>& value, Number given) {
  Number known = value;
  while (given < known && !value.compare_exchange_weak(known, given)) {  // `known` was reloaded
  }
}

// Calls work(i) once for each i in 0..count-1 on at most `threads` threads including this one, all under its
// stop request. Rethrows the first exception after all threads have ended.
template <class Work>
void parallel_for(size_t count, int threads, Work work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  std::condition_variable ended;
  std::ptrdiff_t running = 0;  // below 0 while threads that are not counted yet have ended
  StopRequest* const request = StopRequest::of_thread();
  const auto run = [&] {
    try {
      for (size_t i; (i = next.fetch_add(1)) < count;) work(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> others;
  const size_t wanted = std::min(count, static_cast<size_t>(std::max(threads, 1)));
  others.reserve(wanted);
  try {
    for (size_t t = 1; t < wanted; ++t)
      others.emplace_back([&] {
        const StopRequest::Share share(request);
        run();
        const std::lock_guard lock(mutex);
        --running;
        ended.notify_one();
      });
  } catch (const std::system_error&) {  // no more threads available: those already started do the work
  }
  {
    const std::lock_guard lock(mutex);
    running += static_cast<std::ptrdiff_t>(others.size());
  }
  run();
  for (std::unique_lock lock(mutex); request != nullptr && running != 0;) {
    lock.unlock();
    request->asked();  // only this thread polls its caller
    lock.lock();
    ended.wait_for(lock, std::chrono::milliseconds(5), [&] { return running == 0; });
  }
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace stageplan
