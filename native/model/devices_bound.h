// How few devices of a stage can cost, whatever its time: whether plans with more of them may be cheaper.
#pragma once

#include <algorithm>

#include "model/problem.h"

namespace stageplan {

// Lower bound of time * devices of one stage and its slope in time, for real-valued devices: convex, as the
// maximum of convex functions.
struct DevicesBound {
  double value, slope;
};

// The fewest devices that a lower bound of their number leaves. Unlike std::ceil, it is never a call.
inline int fewest_devices(double least) {
  const int devices = static_cast<int>(least);
  return std::max(1, devices < least ? devices + 1 : devices);
}

inline DevicesBound larger(const DevicesBound& a, const DevicesBound& b) { return a.value >= b.value ? a : b; }

// Of a part of a stage's time: serial + parallel / devices.
inline DevicesBound part_bound(double serial, double parallel, double time) {
  if (parallel == 0) return {0, 0};
  const double spare = std::max(time - serial, parallel / kMaxDevices);
  return {time * parallel / spare, -parallel * serial / (spare * spare)};
}

// Of both parts, and of one device.
inline DevicesBound devices_bound(const DevicesBound& part, const DevicesBound& other, double time) {
  return larger({time, 1}, larger(part, other));
}

}  // namespace stageplan
