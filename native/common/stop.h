// Ends native work early: at a deadline or at the request of the caller, as with Ctrl-C.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

// For variables of a thread: they are made with it. Otherwise the C library makes them when they are first
// used, and ends the process where no memory is left.
#ifdef __linux__
#define STAGEPLAN_WITH_THREAD [[gnu::tls_model("initial-exec")]]
#else
#define STAGEPLAN_WITH_THREAD
#endif

namespace stageplan {

// Thrown by `check_stop`. Results that a search has found so far stay valid; the interrupted step is lost.
struct Stopped {};

// Asks the work of a thread, and of the threads that it starts with `parallel_for`, to stop.
class StopRequest {
 public:
  using Clock = std::chrono::steady_clock;

  // `seconds` from now, infinity for no deadline. `poll`, if any, is called every few milliseconds by the
  // thread that made the request; true requests the stop. A nested request also stops with the outer one.
  explicit StopRequest(double seconds, std::function<bool()> poll = nullptr);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  // Whether work should stop now.
  bool asked() { return asked_.load(std::memory_order_relaxed) || asked(Clock::now()); }

  // The innermost request of the current thread, or null.
  static StopRequest* of_thread() { return of_thread_; }

  // Puts the current thread under a request of another thread.
  class Share {
   public:
    explicit Share(StopRequest* request) : before_(std::exchange(of_thread_, request)) {}
    ~Share() { of_thread_ = before_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    StopRequest* before_;
  };

 private:
  static constexpr std::chrono::milliseconds kPollEvery{10};

  bool asked(Clock::time_point now);

  STAGEPLAN_WITH_THREAD static inline thread_local StopRequest* of_thread_ = nullptr;

  const std::thread::id owner_ = std::this_thread::get_id();
  const std::function<bool()> poll_;
  const Clock::time_point began_ = Clock::now();
  const double seconds_;
  Clock::time_point next_poll_ = began_ + kPollEvery;
  std::atomic<bool> asked_{false};
  StopRequest* before_;
};

// For code that runs every few microseconds or less often.
inline void check_stop() {
  StopRequest* request = StopRequest::of_thread();
  if (request != nullptr && request->asked()) throw Stopped();
}

// For code that runs more often, where reading the clock would take as long as the work: checks once in 256
// units of a thread's work, each a few hundred nanoseconds at most.
class StopCounter {
 public:
  // Short loops call this once, before they begin.
  static StopCounter& of_thread() {
    STAGEPLAN_WITH_THREAD static thread_local StopCounter counter;
    return counter;
  }

  void count(std::uint64_t work = 1) {
    since_check_ += work;
    if (since_check_ < 256) return;
    since_check_ = 0;
    check_stop();
  }

 private:
  std::uint64_t since_check_ = 0;
};

inline void check_stop_often(std::uint64_t work = 1) { StopCounter::of_thread().count(work); }

}  // namespace stageplan
