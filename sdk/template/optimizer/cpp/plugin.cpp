// Gradient descent with momentum (Polyak 1964) and decoupled weight decay. With g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier, each element on its own:
//   v = momentum v + g;   p -= lr (v + d p)
#include <trainhost/cpp/optimizer.hpp>

#include <bit>

namespace {

using namespace trainhost::sdk;

constexpr int64_t kGrain = 16384;  // elements that are worth a thread

template <class Item>
Item *items(const th_tensor &tensor) {
  return reinterpret_cast<Item *>(static_cast<char *>(tensor.data) + tensor.byte_offset);
}

int64_t elements(const th_tensor &tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

// The nearest bfloat16; a tie goes to the even one.
uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

class Momentum {
 public:
  // Each element on its own: the host may cut a parameter anywhere and spread the pieces over processes.
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  Momentum(const Host &host, const Config &config)
      : host_(host), momentum_(config.number("momentum")), weight_decay_(config.number("weight_decay")) {}

  // The velocities are the host's: it allocates, saves and cuts them.
  void describe_states(const th_parameter_info &, StateList &states) const { states.like_parameter("velocity"); }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    for (const auto &update : updates) check(update);  // all of them first: on failure no element has changed
    const auto momentum = static_cast<float>(std::isnan(call.momentum) ? momentum_ : call.momentum);
    for (const auto &update : updates) step(update, momentum, *call.gradient_scale);
  }

 private:
  static void check(const th_update &update) {
    if (update.master.device_type == TH_DEVICE_CPU) return;
    throw Failure(TH_UNSUPPORTED, "its parameters are on device type " + std::to_string(update.master.device_type) +
                                      "; it runs on CPUs only: set device = \"cpu\"");
  }

  void step(const th_update &update, float momentum, float gradient_scale) const {
    const auto rate = static_cast<float>(update.learning_rate);
    const auto decay = static_cast<float>(weight_decay_ * update.weight_decay_multiplier);
    auto *master = items<float>(update.master), *velocity = items<float>(update.states[0]);
    const auto *gradient = items<const float>(update.gradient);
    auto *copy = update.compute_copy.data == nullptr ? nullptr : items<uint16_t>(update.compute_copy);
    host_.parallel_for(elements(update.master), kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        velocity[i] = momentum * velocity[i] + gradient_scale * gradient[i];
        master[i] -= rate * (velocity[i] + decay * master[i]);
        if (copy != nullptr) copy[i] = to_bfloat16(master[i]);
      }
    });
  }

  Host host_;
  double momentum_, weight_decay_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Momentum>)
