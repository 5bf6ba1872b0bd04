// A bigram model: with E, W [V, C] and b [V], the logits of what follows token i are W e + b, e = E[i]. V vocabulary, C rank.
//
// Two units: the first turns tokens into vectors, the last turns vectors into the loss. The parameters, their gradients and the vectors
// between the units are the host's. One thread, float32, on CPUs; nothing is kept from forward for backward.
#include <trainhost/ext/model_logits.h>
#include <trainhost/cpp/model.hpp>

#include <algorithm>
#include <array>
#include <vector>

namespace {

using namespace trainhost::sdk;

enum Unit : uint32_t { kEmbedding, kHead };
enum Parameter : uint32_t { kE, kW, kB };

// Of a tensor that is contiguous, as all are here.
template <class Item = float>
Item *items(const th_tensor &tensor) {
  return reinterpret_cast<Item *>(static_cast<char *>(tensor.data) + tensor.byte_offset);
}

int64_t tokens_of(const th_batch &batch) { return int64_t{batch.sequences} * batch.sequence_length; }

// The gradient to add to: a tied or repeated parameter's goes on from what is there.
float *gradient_of(const th_tensor &gradient, uint32_t mode, int64_t count) {
  if (mode == TH_GRADIENT_OVERWRITE) std::fill_n(items(gradient), count, 0.0f);
  return items(gradient);
}

class Bigram {
 public:
  Bigram(const Host &, const Config &config, const th_model_options &options)
      : vocabulary_(options.vocabulary_size), rank_(config.integer("rank")), row_(options.vocabulary_size) {
    if (options.device_type != TH_DEVICE_CPU || options.compute_code != TH_DTYPE_FLOAT || options.compute_bits != 32) {
      throw Failure(TH_UNSUPPORTED, "it runs on CPUs in float32 only: set device = \"cpu\" and precision = \"fp32\"");
    }
    const double init_std = config.number("init_std");
    parameters_[kE] = parameter("embedding.weight", TH_ROLE_EMBEDDING, 2, init_std);
    parameters_[kW] = parameter("head.weight", TH_ROLE_HEAD, 2, init_std);
    parameters_[kB] = parameter("head.bias", TH_ROLE_BIAS, 1, 0);
    units_[kEmbedding] = unit("embedding", kOfEmbedding, static_cast<uint64_t>(rank_), 0);
    units_[kHead] = unit("head", kOfHead, 0, 2.0 * static_cast<double>(vocabulary_ * rank_));
  }

  std::span<const th_parameter_info> parameters() const { return parameters_; }
  std::span<const th_unit_info> units() const { return units_; }

  th_saved *forward(uint32_t unit, const th_call &, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                    th_tensor &output) {
    unit == kEmbedding ? embed(batch, parameters[0], output) : head_loss(batch, parameters, input, output);
    return nullptr;
  }

  void backward(uint32_t unit, const th_call &, const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_saved *,
                const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                const uint32_t *gradient_modes) {
    float *first = gradient_of(parameter_gradients[0], gradient_modes[0], vocabulary_ * rank_);
    if (unit == kEmbedding) return embed_backward(batch, output_gradient, first);
    float *db = gradient_of(parameter_gradients[1], gradient_modes[1], vocabulary_);
    head_backward(batch, parameters, input, input_gradient, first, db);
  }

  void release(th_saved *) {}  // nothing is ever kept

  void loss_and_backward(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_tensor &loss,
                         th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
    head_loss(batch, parameters, input, loss);
    backward(kHead, call, batch, parameters, input, nullptr, th_tensor{}, input_gradient, parameter_gradients, gradient_modes);
  }

  // th.model.logits/1, for text generation.
  static const void *extension(std::string_view id) {
    static constexpr th_model_logits table{
        .struct_size = sizeof(th_model_logits),
        .reserved = 0,
        .logits = [](th_model *self, const th_call *, const th_batch *, const th_tensor *parameters, const th_tensor *input,
                     const int32_t *rows, uint32_t count, th_tensor *output) -> th_status {
          const Bigram &model = Instance<Bigram>::of(self)->object;
          for (uint32_t i = 0; i < count; ++i) {
            model.logits_of(parameters, items(*input) + rows[i] * model.rank_, items(*output) + i * model.vocabulary_);
          }
          return TH_OK;
        }};
    return id == TH_EXT_MODEL_LOGITS ? &table : nullptr;
  }

 private:
  static constexpr std::array<uint32_t, 1> kOfEmbedding = {kE};
  static constexpr std::array<uint32_t, 2> kOfHead = {kW, kB};

  th_parameter_info parameter(std::string_view name, int32_t role, int32_t rank, double init_std) const {
    th_parameter_info info{};
    info.struct_size = sizeof info;
    info.role = role;
    info.rank = rank;
    info.weight_decay = rank == 2;
    info.name = to_string(name);
    info.shape[0] = vocabulary_;
    if (rank == 2) info.shape[1] = rank_;
    info.init_std = init_std;
    info.lr_scale = 1;
    return info;
  }

  static th_unit_info unit(std::string_view name, std::span<const uint32_t> parameters, uint64_t output_width, double flops) {
    th_unit_info info{};
    info.struct_size = sizeof info;
    info.parameter_count = static_cast<uint32_t>(parameters.size());
    info.parameters = parameters.data();
    info.name = to_string(name);
    info.output_width = output_width;
    info.forward_flops_per_token = flops;
    return info;
  }

  // row = W e + b; gives log(sum(exp(row))). parameters: W, b.
  double logits_of(const th_tensor *parameters, const float *e, float *row) const {
    const float *w = items(parameters[0]), *b = items(parameters[1]);
    double largest = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocabulary_; ++v) {
      double logit = b[v];
      for (int64_t c = 0; c < rank_; ++c) logit += double{w[v * rank_ + c]} * e[c];
      row[v] = static_cast<float>(logit);
      largest = std::max(largest, double{row[v]});
    }
    for (int64_t v = 0; v < vocabulary_; ++v) sum += std::exp(row[v] - largest);
    return largest + std::log(sum);
  }

  void embed(const th_batch &batch, const th_tensor &e, th_tensor &output) const {
    const auto *token = items<int32_t>(batch.tokens);
    for (int64_t t = 0; t < tokens_of(batch); ++t) std::copy_n(items(e) + token[t] * rank_, rank_, items(output) + t * rank_);
  }

  void head_loss(const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_tensor &output) {
    const float *weights = items(batch.loss_weights);
    const auto *target = items<int32_t>(batch.targets);
    double sum = 0;
    for (int64_t t = 0; t < tokens_of(batch); ++t) {
      const double log_sum = logits_of(parameters, items(input) + t * rank_, row_.data());
      const double loss = log_sum - row_[static_cast<size_t>(target[t])];
      if (batch.token_losses.data != nullptr) items(batch.token_losses)[t] = static_cast<float>(loss);
      sum += weights[t] * loss;
    }
    *items(output) = static_cast<float>(sum * batch.loss_scale);
  }

  // dE[i] += de of every token i.
  void embed_backward(const th_batch &batch, const th_tensor &output_gradient, float *gradient) const {
    const auto *token = items<int32_t>(batch.tokens);
    for (int64_t t = 0; t < tokens_of(batch); ++t) {
      const float *de = items(output_gradient) + t * rank_;
      for (int64_t c = 0; c < rank_; ++c) gradient[token[t] * rank_ + c] += de[c];
    }
  }

  // With g = (softmax - one at the target) x weight x loss_scale: db += g, dW += g e', de = W' g.
  void head_backward(const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_tensor &input_gradient, float *dw,
                     float *db) {
    const float *w = items(parameters[0]), *weights = items(batch.loss_weights);
    const auto *target = items<int32_t>(batch.targets);
    for (int64_t t = 0; t < tokens_of(batch); ++t) {
      const float *e = items(input) + t * rank_;
      float *de = items(input_gradient) + t * rank_;
      const double log_sum = logits_of(parameters, e, row_.data()), scale = weights[t] * batch.loss_scale;
      std::fill_n(de, rank_, 0.0f);
      for (int64_t v = 0; v < vocabulary_; ++v) {
        const double softmax = std::exp(row_[static_cast<size_t>(v)] - log_sum);
        const auto g = static_cast<float>(scale * (softmax - (v == target[t])));
        db[v] += g;
        for (int64_t c = 0; c < rank_; ++c) {
          dw[v * rank_ + c] += g * e[c];
          de[c] += g * w[v * rank_ + c];
        }
      }
    }
  }

  int64_t vocabulary_, rank_;
  std::vector<float> row_;  // [V]: the logits of one token
  std::array<th_parameter_info, 3> parameters_;
  std::array<th_unit_info, 2> units_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_MODEL, model_table<Bigram>)
