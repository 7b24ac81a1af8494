#include "common/stop.h"

namespace stageplan {

StopRequest::StopRequest(double seconds, std::function<bool()> poll)
    : poll_(std::move(poll)), seconds_(seconds), before_(std::exchange(of_thread_, this)) {}

StopRequest::~StopRequest() { of_thread_ = before_; }

bool StopRequest::asked(Clock::time_point now) {
  if (asked_.load(std::memory_order_relaxed)) return true;
  bool asks = std::chrono::duration<double>(now - began_).count() >= seconds_ ||
              (before_ != nullptr && before_->asked(now));
  if (!asks && poll_ && std::this_thread::get_id() == owner_ && now >= next_poll_) {
    next_poll_ = now + kPollEvery;
    asks = poll_();
  }
  if (asks) asked_ = true;
  return asks;
}

}  // namespace stageplan
