// Shampoo: V. Gupta, T. Koren and Y. Singer, Shampoo: Preconditioned Stochastic Tensor Optimization, ICML 2018, algorithm 1. For a matrix W
// [m, n] with the gradient G of update t:
//   L_t = L_(t-1) + G G^T,  L_0 = epsilon I [m, m];   R_t = R_(t-1) + G^T G,  R_0 = epsilon I [n, n]
//   W_(t+1) = W_t - lr L_t^(-1/4) G R_t^(-1/4)
// The two roots are computed anew at every `every`th update only, and kept between. Every other parameter, element by element, has
// AdaGrad's diagonal update: s += g^2; w -= lr g / sqrt(s + epsilon). Weight decay is decoupled: w -= lr weight_decay w, before the step.
#include <trainhost/cpp/optimizer.hpp>

#include <algorithm>
#include <bit>

#include "matrix.h"

namespace {

using namespace trainhost::sdk;

constexpr int64_t kGrain = 16384;  // elements that are worth a thread

enum MatrixState { kLeft, kRight, kLeftRoot, kRightRoot };

template <class Item = float>
Item *items(const th_tensor &tensor) {
  return reinterpret_cast<Item *>(static_cast<char *>(tensor.data) + tensor.byte_offset);
}

int64_t elements(const th_parameter_info &info) {
  int64_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= info.shape[i];
  return count;
}

// The nearest bfloat16; a tie goes to the even one.
uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

class Shampoo {
 public:
  // Products of whole matrices: the host cuts between parameters only.
  static constexpr int32_t granularity = TH_GRANULARITY_MATRIX;

  Shampoo(const Host &host, const Config &config)
      : host_(host),
        epsilon_(config.number("epsilon")),
        every_(static_cast<uint64_t>(config.integer("every"))),
        largest_side_(config.integer("largest_side")),
        weight_decay_(config.number("weight_decay")) {}

  // L and R are kept without their epsilon I: states begin with the same number everywhere.
  void describe_states(const th_parameter_info &info, StateList &states) const {
    if (!is_preconditioned(info)) return states.like_parameter("sum_of_squares");
    states.matrix("left", info.shape[0], info.shape[0]);
    states.matrix("right", info.shape[1], info.shape[1]);
    states.matrix("left_root", info.shape[0], info.shape[0]);
    states.matrix("right_root", info.shape[1], info.shape[1]);
  }

  // A root needs a copy of its matrix, a direction two matrices of the parameter's shape; one parameter is updated after the other.
  uint64_t workspace(std::span<const th_parameter_info *const> parameters) const {
    int64_t most = 0;
    for (const th_parameter_info *info : parameters) {
      if (!is_preconditioned(*info)) continue;
      const int64_t m = info->shape[0], n = info->shape[1];
      most = std::max({most, m * m, n * n, 2 * m * n});
    }
    return static_cast<uint64_t>(most) * sizeof(double);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    for (const th_update &update : updates) check(update);  // all of them first: on failure no element has changed
    for (const th_update &update : updates) {
      is_preconditioned(*update.info) ? update_matrix(call, update) : update_elements(call, update);
    }
  }

 private:
  bool is_preconditioned(const th_parameter_info &info) const {
    return info.rank == 2 && std::max(info.shape[0], info.shape[1]) <= largest_side_;
  }

  static void check(const th_update &update) {
    if (update.master.device_type == TH_DEVICE_CPU) return;
    throw Failure(TH_UNSUPPORTED, "its parameters are on device type " + std::to_string(update.master.device_type) +
                                      "; it runs on CPUs only: set device = \"cpu\"");
  }

  void update_matrix(const th_update_call &call, const th_update &update) const {
    const int64_t m = update.info->shape[0], n = update.info->shape[1];
    const float *gradient = items<const float>(update.gradient);
    const double scale = double{*call.gradient_scale};
    float *left = items(update.states[kLeft]), *right = items(update.states[kRight]);
    float *left_root = items(update.states[kLeftRoot]), *right_root = items(update.states[kRightRoot]);
    add_outer_product(host_, {gradient, m, n, n, 1}, scale, left);
    add_outer_product(host_, {gradient, n, m, 1, n}, scale, right);
    auto *const workspace = static_cast<double *>(call.workspace);
    if (call.step % every_ == 0) {
      inverse_fourth_root(host_, left, m, epsilon_, left_root, workspace);
      inverse_fourth_root(host_, right, n, epsilon_, right_root, workspace);
    }
    double *direction = workspace, *work = direction + m * n;
    multiply_both_sides(host_, left_root, gradient, right_root, m, n, work, direction);
    apply(update, [=](int64_t i) { return scale * direction[i]; });
  }

  void update_elements(const th_update_call &call, const th_update &update) const {
    const float *gradient = items<const float>(update.gradient);
    float *sum = items(update.states[0]);
    const double scale = double{*call.gradient_scale}, epsilon = epsilon_;
    apply(update, [=](int64_t i) {
      const double g = scale * double{gradient[i]};
      sum[i] = static_cast<float>(double{sum[i]} + g * g);
      return g / std::sqrt(double{sum[i]} + epsilon);
    });
  }

  // w -= lr (direction + weight_decay w), and the rounded copy.
  template <class Direction>
  void apply(const th_update &update, Direction direction) const {
    const double rate = update.learning_rate, decay = weight_decay_ * update.weight_decay_multiplier;
    float *master = items(update.master);
    uint16_t *copy = update.compute_copy.data == nullptr ? nullptr : items<uint16_t>(update.compute_copy);
    host_.parallel_for(elements(*update.info), kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const double w = double{master[i]};
        master[i] = static_cast<float>(w - rate * (direction(i) + decay * w));
        if (copy != nullptr) copy[i] = to_bfloat16(master[i]);
      }
    });
  }

  Host host_;
  double epsilon_;
  uint64_t every_;
  int64_t largest_side_;
  double weight_decay_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Shampoo>)
