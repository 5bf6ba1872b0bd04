// Adafactor (Shazeer, Stern 2018, arXiv 1804.04235) without momentum. With t = step + 1, w = t^decay_power, g = gradient_scale x gradient
// and d = weight_decay x weight_decay_multiplier, a parameter p of rank 2 and more is seen as a matrix of its last dimension's rows:
//   R_i += w (mean over j of g_ij^2 + epsilon - R_i);  C_j likewise over i;  v_ij = R_i C_j / mean(R)
// and one of rank 1 keeps v += w (g^2 + epsilon - v). Then
//   u = g / sqrt(v);  p -= lr d p;  p -= lr max(smallest_rms, rms(p)) / max(1, rms(u) / clip) x u
// with rms(p) that before the step. torch.optim.Adafactor is the same where its learning rate is below 1 / sqrt(t).
// Means and norms are summed in double, elements are float; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "adafactor/kernel.hpp"
#include "elementwise/tensor_path.hpp"
#include "whole_tensors/blocks.hpp"
#include "whole_tensors/vectors.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items, whole_tensors::kBlock, whole_tensors::Squares;

constexpr std::array<std::string_view, 1> kVectorStates = {"variance"};
constexpr int64_t kColumns = 128;  // whose sums are taken at a time

struct Sides {
  explicit Sides(const th_parameter_info &info)
      : columns(info.rank == 0 ? 1 : info.shape[info.rank - 1]), rows(whole_tensors::element_count(info) / columns) {}
  int64_t columns, rows;
};

bool is_factored(const th_parameter_info &info) { return info.rank >= 2; }

// Rows in blocks of their own.
int64_t blocks_in(const th_parameter_info &info) {
  const Sides sides(info);
  return sides.rows * whole_tensors::block_count(sides.columns);
}

class Adafactor {
 public:
  // Norms of the parameter and its step, and states of other shapes than the parameter's.
  static constexpr int32_t granularity = TH_GRANULARITY_TENSOR;

  Adafactor(const Host &host, const Config &config)
      : host_(host),
        settings_{config.number("decay_power"), config.number("epsilon"), config.number("smallest_rms"), config.number("clip"),
                  config.number("weight_decay")} {}

  void describe_states(const th_parameter_info &info, StateList &states) const {
    if (!is_factored(info)) return states.like_parameter(kVectorStates[0]);
    const Sides sides(info);
    states.matrix("row_variance", sides.rows, 1);
    states.matrix("column_variance", 1, sides.columns);
  }

  // The sums of each block; one parameter is updated after the other.
  uint64_t workspace(std::span<const th_parameter_info *const> parameters) const {
    int64_t most = 0;
    for (const th_parameter_info *info : parameters) most = std::max(most, blocks_in(*info));
    return static_cast<uint64_t>(most) * sizeof(Squares);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    for (const th_update &update : updates) check(update, updates.front().master);
    elementwise::refuse_momentum(call);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().adafactor(settings_, call, updates);
    const double rest = std::pow(static_cast<double>(call.step) + 1, settings_.decay_power);
    for (const th_update &update : updates) {
      is_factored(*update.info) ? update_matrix(rest, call, update) : update_vector(rest, call, update);
    }
  }

 private:
  static void check(const th_update &update, const th_tensor &place) {
    elementwise::check_parameter(update, place);
    whole_tensors::check_whole(update);
    if (!is_factored(*update.info)) return elementwise::check_states(update, place, kVectorStates);
    const Sides sides(*update.info);
    int64_t row_shape[] = {sides.rows, 1}, column_shape[] = {1, sides.columns};
    th_tensor rows = place, columns = place;
    rows.rank = columns.rank = 2;
    rows.shape = row_shape;
    columns.shape = column_shape;
    elementwise::check_tensor(update, "state row_variance", update.states[0], place, rows, TH_DTYPE_FLOAT, 32);
    elementwise::check_tensor(update, "state column_variance", update.states[1], place, columns, TH_DTYPE_FLOAT, 32);
  }

  void update_vector(double rest, const th_update_call &call, const th_update &update) const {
    const float *const gradient = items<const float>(update.gradient);
    float *const variance = items<float>(update.states[0]);
    whole_tensors::for_each_block(host_, elementwise::element_count(update.master), [&](int64_t, int64_t first, int64_t count) {
      average_squares(*call.gradient_scale, static_cast<float>(settings_.epsilon), static_cast<float>(rest), gradient + first,
                      variance + first, count);
    });
    take_step(call, update, [&](int64_t, int64_t first, int64_t count, float *direction) {
      adafactor_direction(*call.gradient_scale, gradient + first, variance + first, direction, count);
    });
  }

  void update_matrix(double rest, const th_update_call &call, const th_update &update) const {
    const Sides sides(*update.info);
    const float *const gradient = items<const float>(update.gradient);
    float *const row_variance = items<float>(update.states[0]), *const column_variance = items<float>(update.states[1]);
    const double squared_scale = double{*call.gradient_scale} * double{*call.gradient_scale};
    const auto average = [&](float &mean, double sum, int64_t count) {
      const double now = squared_scale * sum / static_cast<double>(count) + settings_.epsilon;
      mean = static_cast<float>(mean + rest * (now - mean));
    };
    host_.parallel_for(sides.rows, grain(sides.columns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        average(row_variance[row], sum_of_squares(gradient + row * sides.columns, sides.columns), sides.columns);
      }
    });
    host_.parallel_for((sides.columns + kColumns - 1) / kColumns, grain(sides.rows * kColumns), [&](int64_t begin, int64_t end) {
      for (int64_t first = begin * kColumns; first < std::min(end * kColumns, sides.columns); first += kColumns) {
        double sums[kColumns] = {};
        const int64_t count = std::min(kColumns, sides.columns - first);
        for (int64_t row = 0; row < sides.rows; ++row) add_squares(gradient + row * sides.columns + first, sums, count);
        for (int64_t i = 0; i < count; ++i) average(column_variance[first + i], sums[i], sides.rows);
      }
    });
    double mean = 0;
    for (int64_t row = 0; row < sides.rows; ++row) mean += double{row_variance[row]} / static_cast<double>(sides.rows);
    take_step(call, update, [&](int64_t row, int64_t first, int64_t count, float *direction) {
      const auto factor = static_cast<float>(*call.gradient_scale * std::sqrt(mean / double{row_variance[row]}));
      adafactor_direction(factor, gradient + row * sides.columns + first, column_variance + first, direction, count);
    });
  }

  // direction(row, first, count, out) gives elements [first, first + count) of a row of the step, not clipped.
  template <class Direction>
  void take_step(const th_update_call &call, const th_update &update, Direction &&direction) const {
    const Sides sides(*update.info);
    const int64_t blocks_in_row = whole_tensors::block_count(sides.columns), blocks = sides.rows * blocks_in_row;
    float *const master = items<float>(update.master);
    auto *const squares = static_cast<Squares *>(call.workspace);
    const auto for_each_block = [&](auto &&kernel) {
      host_.parallel_for(blocks, grain(std::min(sides.columns, kBlock)), [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          const int64_t row = block / blocks_in_row, first = block % blocks_in_row * kBlock;
          const int64_t count = std::min(kBlock, sides.columns - first);
          float step[kBlock];
          direction(row, first, count, step);
          kernel(block, row * sides.columns + first, count, step);
        }
      });
    };
    for_each_block([&](int64_t block, int64_t at, int64_t count, const float *step) {
      squares[block] = {sum_of_squares(master + at, count), sum_of_squares(step, count)};
    });
    const double elements = static_cast<double>(sides.rows * sides.columns);
    const Squares sum = whole_tensors::total(squares, blocks);
    const double length = update.learning_rate * std::max(settings_.smallest_rms, std::sqrt(sum.parameter / elements)) /
                          std::max(1.0, std::sqrt(sum.step / elements) / settings_.clip);
    const double keep = 1 - update.learning_rate * settings_.weight_decay * update.weight_decay_multiplier;
    for_each_block([&](int64_t, int64_t at, int64_t count, const float *step) {
      step_along(static_cast<float>(keep), master + at, static_cast<float>(length), step, count);
      elementwise::write_compute_copy(update, at, count);
    });
  }

  // So many pieces, of `elements` each, are worth a thread.
  static int64_t grain(int64_t elements) { return std::max<int64_t>(1, elementwise::kGrain / std::max<int64_t>(1, elements)); }

  Host host_;
  AdafactorSettings settings_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Adafactor>)
