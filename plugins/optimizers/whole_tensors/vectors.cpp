#include "whole_tensors/vectors.hpp"

#include "elementwise/vectorised.hpp"

constexpr int kLanes = 16;

TRAINHOST_VECTORISED
double sum_of_squares(const float *values, int64_t count) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += double{values[i + lane]} * double{values[i + lane]};
  }
  for (int lane = 0; i < count; ++i, ++lane) lanes[lane] += double{values[i]} * double{values[i]};
  double sum = 0;
  for (const double part : lanes) sum += part;
  return sum;
}

TRAINHOST_VECTORISED
void scale(float *values, float factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] *= factor;
}

TRAINHOST_VECTORISED
void step_along(float keep, float *__restrict master, float length, const float *__restrict direction, int64_t count) {
  for (int64_t i = 0; i < count; ++i) master[i] = keep * master[i] - length * direction[i];
}
