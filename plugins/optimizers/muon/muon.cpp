// Muon (Jordan et al. 2024, as torch.optim.Muon) with the scale of Moonlight (arXiv 2502.16982), for hidden matrices; embeddings, head,
// norms and biases have AdamW (elementwise/adam.hpp) with the same learning rate and weight decay. With g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier, a matrix W of A x B:
//   M = momentum M + g;  U = g + momentum M;  O = the orthogonalised U / |U| (newton_schulz.hpp)
//   W -= lr d W;  W -= lr update_rms sqrt(max(A, B)) O
// The square root makes the root mean square of the step's elements update_rms. Products are LibTorch's, in blocks of rows that depend on
// the shape alone; norms are summed in double.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "elementwise/adam.hpp"
#include "elementwise/tensor_path.hpp"
#include "muon/kernel.hpp"
#include "muon/memory.hpp"
#include "whole_tensors/blocks.hpp"
#include "whole_tensors/vectors.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 1> kMatrixStates = {"momentum_buffer"};
constexpr int64_t kRows = 128;  // of a product, on one thread at a time

bool is_hidden_matrix(const th_parameter_info &info) { return info.role == TH_ROLE_MATRIX && info.rank == 2; }

class Muon {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_MATRIX;

  Muon(const Host &host, const Config &config)
      : host_(host),
        tensors_(elementwise::tensor_optimizers()),
        matrices_{config.number("momentum"), config.number("update_rms"), config.number("weight_decay")},
        others_{config.number("beta1"), config.number("beta2"), config.number("epsilon"), config.number("weight_decay"), true},
        moments_(elementwise::moments_of(config)) {}

  void describe_states(const th_parameter_info &info, StateList &states) const {
    for (const std::string_view name : states_of(info)) states.like_parameter(name, 0, moments_);
  }

  uint64_t workspace(std::span<const th_parameter_info *const> parameters) const {
    int64_t most = 0;
    for (const th_parameter_info *info : parameters) {
      if (is_hidden_matrix(*info)) most = std::max(most, MuonMemory::bytes(info->shape[0], info->shape[1]));
    }
    return static_cast<uint64_t>(most);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    for (const th_update &update : updates) {
      elementwise::check_parameter(update, updates.front().master);
      elementwise::check_states(update, updates.front().master, states_of(*update.info), moments_);
      whole_tensors::check_whole(update);
    }
    MuonSettings settings = matrices_;
    settings.momentum = elementwise::momentum_of(call, settings.momentum);
    for (const th_update &update : updates) {
      if (!is_hidden_matrix(*update.info)) {
        elementwise::adam(host_, others_, call, {&update, 1});
      } else if (elementwise::on_cuda(updates)) {
        tensors_.muon(settings, call, update);
      } else {
        update_matrix(settings, call, update);
      }
    }
  }

 private:
  static std::span<const std::string_view> states_of(const th_parameter_info &info) {
    if (is_hidden_matrix(info)) return kMatrixStates;
    return elementwise::kAdamStates;
  }

  void update_matrix(const MuonSettings &settings, const th_update_call &call, const th_update &update) const {
    const int64_t rows = update.info->shape[0], columns = update.info->shape[1], elements = rows * columns;
    const MuonMemory memory(call.workspace, rows, columns);
    float *const master = items<float>(update.master), *const x = memory.iteration.x;
    const float *const gradient = items<const float>(update.gradient);
    whole_tensors::for_each_block(host_, elements, [&](int64_t block, int64_t first, int64_t count) {
      elementwise::MomentBlock buffer(call, update, 0, first, count);
      muon_momentum(*call.gradient_scale, static_cast<float>(settings.momentum), gradient + first, buffer.values(), x + first, count);
      buffer.store();
      memory.squares[block].step = sum_of_squares(x + first, count);
    });
    const double norm = std::sqrt(whole_tensors::total(memory.squares, whole_tensors::block_count(elements)).step);
    whole_tensors::for_each_block(host_, elements, [&](int64_t, int64_t first, int64_t count) {
      scale(x + first, static_cast<float>(1 / std::max(norm, kSmallestNorm)), count);
    });
    const float *const orthogonal =
        orthogonalise(memory.iteration, rows, columns, [&](const auto &...factors) { multiply_add(factors...); });
    const double keep = 1 - update.learning_rate * settings.weight_decay * update.weight_decay_multiplier;
    const double length = update.learning_rate * settings.update_rms * std::sqrt(static_cast<double>(std::max(rows, columns)));
    whole_tensors::for_each_block(host_, elements, [&](int64_t, int64_t first, int64_t count) {
      step_along(static_cast<float>(keep), master + first, static_cast<float>(length), orthogonal + first, count);
      elementwise::write_compute_copy(update, first, count);
    });
  }

  // At least two blocks, for LibTorch spreads over all threads what is not already on one of many.
  void multiply_add(const Matrix &addend, double beta, const Matrix &a, const Matrix &b, double alpha, const Matrix &out) const {
    const int64_t rows = std::min(kRows, (out.rows + 1) / 2);
    host_.parallel_for((out.rows + rows - 1) / rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin * rows; first < std::min(end * rows, out.rows); first += rows) {
        const int64_t count = std::min(rows, out.rows - first);
        tensors_.multiply_add(addend.some_rows(first, count), beta, a.some_rows(first, count), b, alpha, out.some_rows(first, count));
      }
    });
  }

  Host host_;
  const TensorOptimizers &tensors_;
  MuonSettings matrices_;
  AdamSettings others_;
  StateType moments_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Muon>)
