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

// Lowers a value that several threads lower at the same time; it is the least of what they give in the end.
template <class Number>
void lower_to(std::atomic<Number>& value, Number given) {
  Number known = value;
  while (given < known && !value.compare_exchange_weak(known, given)) {  // `known` is read again
  }
}

// Calls work(i) for i in 0..count-1, each once, on at most `threads` threads, this one among them, all under
// its request to stop. The first exception is thrown again here, once all have ended.
template <class Work>
void parallel_for(size_t count, int threads, Work work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  std::condition_variable ended;
  std::ptrdiff_t running = 0;  // below 0 while threads end that are not counted yet
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
  } catch (const std::system_error&) {  // the system gives no more: those that there are do the work
  }
  {
    const std::lock_guard lock(mutex);
    running += static_cast<std::ptrdiff_t>(others.size());
  }
  run();
  for (std::unique_lock lock(mutex); request != nullptr && running != 0;) {
    lock.unlock();
    request->asked();  // only this thread hears its caller
    lock.lock();
    ended.wait_for(lock, std::chrono::milliseconds(5), [&] { return running == 0; });
  }
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace stageplan
