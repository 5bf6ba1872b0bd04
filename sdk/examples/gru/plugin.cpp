// A recurrent language model whose gradients come from LibTorch's autograd. A layer is x + dropout(W_o h(rms_norm(x))) with minGRU as h:
// L. Feng, F. Tung, M. O. Ahmed, Y. Bengio and H. Hajimirsadeghi, Were RNNs All We Needed?, 2024 (arXiv 2410.01201), section 3.1:
//   z_t = sigmoid(W_z x_t + b_z),   c_t = W_c x_t,   h_t = (1 - z_t) h_(t-1) + z_t c_t
// The state begins at 0 in every document. As z and c do not depend on it, all h_t of a sequence come from a parallel scan.
//
// What a unit keeps for its backward is its autograd graph, which points at the parameters' memory. Where the host does not promise that
// they stay there (TH_KEEP_DURING_CALL), nothing is kept and backward builds the graph anew. Of the input, which is promised during the
// call only, a graph that is kept has a copy.
#define AT_PER_OPERATOR_HEADERS  // the few operators that are used, not all: a fifth of the time to compile
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <trainhost/ext/model_logits.h>
#include <trainhost/ext/model_memory.h>
#include <trainhost/ext/rng.h>
#include <trainhost/cpp/model.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace trainhost::sdk;

// The parameters of a layer and of the head, in the order of their units.
enum LayerParameter { kLayerNorm, kGate, kGateBias, kCandidate, kOut };
enum HeadParameter { kHeadNorm, kHead };

at::IntArrayRef shape_of(const th_tensor &tensor) { return {tensor.shape, static_cast<size_t>(tensor.rank)}; }

at::Tensor view_of(const th_tensor &tensor) {
  const at::ScalarType type = tensor.dtype_code == TH_DTYPE_INT      ? at::kInt
                              : tensor.dtype_code == TH_DTYPE_BFLOAT ? at::kBFloat16
                                                                     : at::kFloat;
  return at::from_blob(static_cast<char *>(tensor.data) + tensor.byte_offset, shape_of(tensor), at::TensorOptions().dtype(type));
}

// Whatever it is stored as, it is computed with in float32: the same memory where it is float32, a copy where it is bfloat16.
at::Tensor widened(const th_tensor &tensor) { return view_of(tensor).to(at::kFloat); }

// One unit's forward. Gradients of `output` flow to `leaves`: the parameters, and after them the input where the unit has one.
struct Graph {
  std::vector<at::Tensor> leaves;
  at::Tensor output;
};

// When the gradients of a graph will be asked for.
enum class Backward { kNever, kInThisCall, kLater };

th_saved *to_handle(std::unique_ptr<Graph> graph) { return reinterpret_cast<th_saved *>(graph.release()); }
std::unique_ptr<Graph> from_handle(th_saved *saved) { return std::unique_ptr<Graph>(reinterpret_cast<Graph *>(saved)); }

bool keeps_graph(const th_call &call) { return call.training && call.keep && call.parameter_lifetime == TH_KEEP_UNTIL_BACKWARD; }

at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &scale) { return x * (x * x).mean(-1, true).add(1e-6).rsqrt() * scale; }

// x [B, T, ...] moved `by` places later; zeros move in.
at::Tensor later(const at::Tensor &x, int64_t by) { return at::constant_pad_nd(x.narrow(1, 0, x.size(1) - by), {0, 0, by, 0}); }

// h_t = a_t h_(t-1) + b_t with h before the first place 0, for a, b [B, T, H]: the scan of Hillis and Steele (1986). After each round a and
// b take a place to the one twice as many places before. It works on a itself, not on its logarithm as the paper does, so that a may be 0,
// where the state is forgotten.
at::Tensor scan(at::Tensor a, at::Tensor b) {
  for (int64_t by = 1; by < a.size(1); by *= 2) {
    b = b + a * later(b, by);
    a = a * later(a, by);
  }
  return b;
}

uint64_t rounds_of_scan(int64_t length) { return static_cast<uint64_t>(std::bit_width(static_cast<uint64_t>(length - 1))); }

class Gru {
 public:
  Gru(const Host &host, const Config &config, const th_model_options &options)
      : rng_(host.extension<th_rng>(TH_EXT_RNG)),
        vocabulary_(options.vocabulary_size),
        width_(config.integer("width")),
        state_(config.integer("state")),
        dropout_(config.number("dropout")),
        widens_(options.compute_bits < 32) {
    if (options.device_type != TH_DEVICE_CPU) throw Failure(TH_UNSUPPORTED, "it runs on CPUs only: set device = \"cpu\"");
    if (dropout_ > 0 && rng_ == nullptr) {
      throw Failure(TH_UNSUPPORTED, "dropout is " + std::to_string(dropout_) + ", but this host has no " TH_EXT_RNG "; set dropout = 0");
    }
    add_units(config.integer("layers"));
  }

  std::span<const th_parameter_info> parameters() const { return parameter_infos_; }
  std::span<const th_unit_info> units() const { return unit_infos_; }

  th_saved *forward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                    th_tensor &output) {
    auto graph = build(unit, call, batch, parameters, input, keeps_graph(call) ? Backward::kLater : Backward::kNever);
    view_of(output).copy_(graph->output.detach().view(shape_of(output)));
    return keeps_graph(call) ? to_handle(std::move(graph)) : nullptr;
  }

  void backward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                const uint32_t *gradient_modes) {
    const auto graph = saved != nullptr ? from_handle(saved) : build(unit, call, batch, parameters, input, Backward::kInThisCall);
    const at::Tensor from = is_last(unit) ? at::ones_like(graph->output) : widened(output_gradient).view_as(graph->output);
    const auto gradients = torch::autograd::grad({graph->output}, graph->leaves, {from});
    const uint32_t count = unit_infos_[unit].parameter_count;
    for (uint32_t i = 0; i < count; ++i) {
      at::Tensor into = view_of(parameter_gradients[i]);
      gradient_modes[i] == TH_GRADIENT_ADD ? into.add_(gradients[i]) : into.copy_(gradients[i]);
    }
    if (unit > 0) view_of(input_gradient).copy_(gradients[count]);
  }

  void release(th_saved *saved) { from_handle(saved); }

  void loss_and_backward(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_tensor &loss,
                         th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
    auto graph = build(last_unit(), call, batch, parameters, input, Backward::kInThisCall);
    view_of(loss).copy_(graph->output.detach());
    backward(last_unit(), call, batch, parameters, input, to_handle(std::move(graph)), th_tensor{}, input_gradient, parameter_gradients,
             gradient_modes);
  }

  static const void *extension(std::string_view id) {
    static constexpr th_model_logits logits{sizeof(th_model_logits), 0, logits_slot};
    static constexpr th_model_memory memory{sizeof(th_model_memory), 0, unit_memory_slot};
    if (id == TH_EXT_MODEL_LOGITS) return &logits;
    return id == TH_EXT_MODEL_MEMORY ? &memory : nullptr;
  }

 private:
  struct Parameter {
    std::string name;
    int32_t role;
    std::vector<int64_t> shape;
  };
  struct Unit {
    std::string name;
    std::vector<uint32_t> parameters;
  };

  uint32_t last_unit() const { return static_cast<uint32_t>(unit_infos_.size() - 1); }
  bool is_last(uint32_t unit) const { return unit == last_unit(); }

  void add_units(int64_t layers) {
    add_unit("embedding", {{"weight", TH_ROLE_EMBEDDING, {vocabulary_, width_}}});
    for (int64_t i = 0; i < layers; ++i) {
      add_unit("layers." + std::to_string(i), {{"norm.scale", TH_ROLE_NORM, {width_}},
                                               {"gate.weight", TH_ROLE_MATRIX, {state_, width_}},
                                               {"gate.bias", TH_ROLE_BIAS, {state_}},
                                               {"candidate.weight", TH_ROLE_MATRIX, {state_, width_}},
                                               {"out.weight", TH_ROLE_MATRIX, {width_, state_}}});
    }
    add_unit("head", {{"norm.scale", TH_ROLE_NORM, {width_}}, {"weight", TH_ROLE_HEAD, {vocabulary_, width_}}});
    // The infos point into both lists, which stay as they are from now on.
    for (const Parameter &parameter : parameters_) parameter_infos_.push_back(info_of(parameter));
    for (const Unit &unit : units_) unit_infos_.push_back(info_of(unit));
    unit_infos_.back().output_width = 0;
  }

  void add_unit(const std::string &name, std::vector<Parameter> parameters) {
    Unit &unit = units_.emplace_back(Unit{name, {}});
    for (Parameter &parameter : parameters) {
      unit.parameters.push_back(static_cast<uint32_t>(parameters_.size()));
      parameters_.push_back({name + "." + parameter.name, parameter.role, std::move(parameter.shape)});
    }
  }

  th_parameter_info info_of(const Parameter &parameter) const {
    const bool is_matrix = parameter.shape.size() == 2;
    th_parameter_info info{};
    info.struct_size = sizeof info;
    info.role = parameter.role;
    info.rank = static_cast<int32_t>(parameter.shape.size());
    info.weight_decay = parameter.role == TH_ROLE_MATRIX || parameter.role == TH_ROLE_HEAD;
    info.name = to_string(parameter.name);
    std::ranges::copy(parameter.shape, info.shape);
    info.init_mean = parameter.role == TH_ROLE_NORM ? 1 : 0;
    info.init_std = is_matrix ? 1 / std::sqrt(static_cast<double>(parameter.shape[1])) : 0;
    info.lr_scale = 1;
    return info;
  }

  th_unit_info info_of(const Unit &unit) const {
    double weights = 0;
    for (const uint32_t index : unit.parameters) {
      const Parameter &parameter = parameters_[index];
      if (parameter.shape.size() == 2 && parameter.role != TH_ROLE_EMBEDDING)
        weights += static_cast<double>(parameter.shape[0] * parameter.shape[1]);
    }
    th_unit_info info{};
    info.struct_size = sizeof info;
    info.parameter_count = static_cast<uint32_t>(unit.parameters.size());
    info.parameters = unit.parameters.data();
    info.name = to_string(unit.name);
    info.output_width = static_cast<uint64_t>(width_);
    info.forward_flops_per_token = 2 * weights;
    return info;
  }

  std::unique_ptr<Graph> build(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters,
                               const th_tensor &input, Backward backward) const {
    const bool records = backward != Backward::kNever;
    const c10::AutoGradMode mode(records);
    auto graph = std::make_unique<Graph>();
    std::vector<at::Tensor> &leaves = graph->leaves;
    for (uint32_t i = 0; i < unit_infos_[unit].parameter_count; ++i) leaves.push_back(widened(parameters[i]));
    if (unit > 0) leaves.push_back(view_of(input).to(at::kFloat, false, backward == Backward::kLater));
    for (at::Tensor &leaf : leaves) leaf.set_requires_grad(records);
    graph->output = unit == 0       ? at::embedding(leaves[0], view_of(batch.tokens))
                    : is_last(unit) ? loss(leaves, leaves.back(), batch)
                                    : layer(leaves, leaves.back(), call, batch);
    return graph;
  }

  at::Tensor layer(const std::vector<at::Tensor> &p, const at::Tensor &x, const th_call &call, const th_batch &batch) const {
    const at::Tensor normed = rms_norm(x, p[kLayerNorm]).view({batch.sequences, batch.sequence_length, width_});
    const at::Tensor gate = at::linear(normed, p[kGate], p[kGateBias]).sigmoid();
    const at::Tensor candidate = at::linear(normed, p[kCandidate]);
    const at::Tensor goes_on = (view_of(batch.positions) > 0).unsqueeze(-1);  // 0 where a document begins
    const at::Tensor states = scan((1 - gate) * goes_on, gate * candidate);
    return x + dropped(at::linear(states, p[kOut]).view_as(x), call);
  }

  // The seed and the stream of the call are this unit's and micro-batch's alone, so a recomputed unit drops the same elements.
  at::Tensor dropped(const at::Tensor &x, const th_call &call) const {
    if (!call.training || dropout_ == 0) return x;
    const at::Tensor uniform = at::empty(x.sizes(), at::TensorOptions().dtype(at::kFloat));
    rng_->uniform(call.seed, call.random_stream, 0, static_cast<uint64_t>(x.numel()), uniform.data_ptr<float>());
    return x * (uniform >= dropout_) / (1 - dropout_);
  }

  static at::Tensor logits(const std::vector<at::Tensor> &p, const at::Tensor &x) {
    return at::linear(rms_norm(x, p[kHeadNorm]), p[kHead]);
  }

  at::Tensor loss(const std::vector<at::Tensor> &p, const at::Tensor &x, const th_batch &batch) const {
    const at::Tensor targets = view_of(batch.targets).flatten().to(at::kLong);
    const at::Tensor losses = at::cross_entropy_loss(logits(p, x), targets, {}, at::Reduction::None);
    if (batch.token_losses.data != nullptr) view_of(batch.token_losses).copy_(losses.detach().view(shape_of(batch.token_losses)));
    return (losses * view_of(batch.loss_weights).flatten()).sum().mul(batch.loss_scale).view({1});
  }

  static th_status logits_slot(th_model *self, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                               const int32_t *rows, uint32_t count, th_tensor *output) {
    return guard(Instance<Gru>::of(self)->host, [&] {
      const c10::AutoGradMode off(false);
      const at::Tensor chosen = at::from_blob(const_cast<int32_t *>(rows), {count}, at::TensorOptions().dtype(at::kInt));
      view_of(*output).copy_(logits({widened(parameters[kHeadNorm]), widened(parameters[kHead])}, widened(*input).index_select(0, chosen)));
    });
  }

  static th_status unit_memory_slot(const th_model *self, uint32_t unit, const th_call *call, uint32_t sequences, uint32_t sequence_length,
                                    th_unit_memory *out) {
    const Gru &model = Instance<Gru>::of(self)->object;
    const uint64_t tokens = uint64_t{sequences} * sequence_length;
    const uint64_t graph = tokens * model.graph_per_token(unit, sequence_length) * sizeof(float);
    const uint64_t working = tokens * model.working_per_token(unit) * sizeof(float);
    const bool keeps = keeps_graph(*call);
    out->saved = keeps ? graph : 0;
    out->forward = working;
    out->backward = working + model.widened_parameters(unit) * sizeof(float) + (keeps ? 0 : graph);
    return TH_OK;
  }

  // Numbers that a unit's graph holds when its forward ends.
  uint64_t graph_per_token(uint32_t unit, int64_t sequence_length) const {
    const auto width = static_cast<uint64_t>(width_), state = static_cast<uint64_t>(state_);
    if (unit == 0) return width;
    if (is_last(unit)) return 4 * width + static_cast<uint64_t>(vocabulary_);
    return 5 * width + (4 + 3 * rounds_of_scan(sequence_length)) * state;
  }

  // Numbers that come and go, beyond those, in forward or backward.
  uint64_t working_per_token(uint32_t unit) const {
    const auto width = static_cast<uint64_t>(width_);
    if (unit == 0) return width;
    return 4 * width + (is_last(unit) ? 2 * static_cast<uint64_t>(vocabulary_) : 8 * static_cast<uint64_t>(state_));
  }

  // Numbers of the gradients of a unit's parameters, before they are added to the host's, and of the parameters where those are copied.
  uint64_t widened_parameters(uint32_t unit) const {
    uint64_t count = 0;
    for (const uint32_t index : units_[unit].parameters) {
      const auto &shape = parameters_[index].shape;
      count += static_cast<uint64_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies()));
    }
    return widens_ ? 2 * count : count;
  }

  const th_rng *rng_;
  int64_t vocabulary_, width_, state_;
  double dropout_;
  bool widens_;  // parameters and activations are bfloat16
  std::vector<Parameter> parameters_;
  std::vector<Unit> units_;
  std::vector<th_parameter_info> parameter_infos_;
  std::vector<th_unit_info> unit_infos_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_MODEL, model_table<Gru>)
