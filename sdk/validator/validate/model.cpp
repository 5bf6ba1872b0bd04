#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "validate/child.h"
#include "validate/model_passes.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

constexpr uint64_t kDirectionStream = 2 << 20;

std::string_view view(th_string text) { return {text.data, text.length}; }

std::string bytes_of(double loss, const Gradients &gradients) {
  std::string bytes;
  append(bytes, loss);
  for (const auto &gradient : gradients) bytes.append(reinterpret_cast<const char *>(gradient.data()), gradient.size() * sizeof(float));
  return bytes;
}

// Loss and gradients of the whole batch.
Result<std::string> pass(const Trial &trial, const SharedRecord &record, const Way &way = {}) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial, record));
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(batch, gradients, false, way));
  return bytes_of(loss, gradients);
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) { return pass(trial, record); }

Result<> same_bits(const Trial &trial, const Way &way, const std::string &how) {
  TRAINHOST_TRY(const std::string once, pass(trial, std::make_shared<HostRecord>()));
  TRAINHOST_TRY(const std::string again, pass(trial, std::make_shared<HostRecord>(), way));
  if (once != again) return broken(how + " the loss or a gradient has other bits");
  return {};
}

Result<> recomputes(const Trial &trial) { return same_bits(trial, {.recompute = true}, "with every unit recomputed"); }
Result<> moves(const Trial &trial) { return same_bits(trial, {.move = true}, "with parameters that move between forward and backward"); }

// Sqrt of the sum of squares, over all parameters.
double norm_of(const Gradients &gradients) {
  double sum = 0;
  for (const auto &gradient : gradients) {
    for (const float value : gradient.items()) sum += double{value} * double{value};
  }
  return std::sqrt(sum);
}

// The loss at parameters + t direction, with dropout and the like as in training.
Result<double> loss_along(Passes &passes, const Trial &trial, const std::vector<std::vector<float>> &origin, const Gradients &direction,
                          double t) {
  for (size_t i = 0; i < origin.size(); ++i) {
    auto &parameter = passes.parameters()[i];
    parameter.memory().allow_writing(true);
    for (size_t j = 0; j < origin[i].size(); ++j)
      parameter.items()[j] = static_cast<float>(double{origin[i][j]} + t * double{direction[i].items()[j]});
  }
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients unused = passes.zero_gradients();
  TRAINHOST_TRY([[maybe_unused]] const double loss, passes.train(batch, unused, false, {.token_losses = true}));
  double sum = 0;  // the single losses in double precision have less noise than their sum in float32
  for (size_t row = 0; row < batch.rows(); ++row) sum += row % kLength == kLength - 1 ? 0 : double{batch.token_losses()[row]};
  return sum * loss_scale(kSequences, kLength);
}

// Central differences along directions: (L(t) - L(-t)) / 2t, with the error's leading term removed by halving t (Richardson).
Result<> differences(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_CHECK(passes->train(batch, gradients, false));
  std::vector<std::vector<float>> origin;
  for (const auto &parameter : passes->parameters()) origin.emplace_back(parameter.items().begin(), parameter.items().end());
  const double whole = norm_of(gradients);
  if (!(whole > 0)) return broken(fmt::format("the norm of all gradients is {}", whole));
  for (size_t i = 0; i < gradients.size(); ++i) {
    const std::string parameter(view(passes->model().parameters()[i].name));
    Gradients direction = passes->zero_gradients();
    double slope = 0, length = 0;
    for (size_t j = 0; j < direction[i].size(); ++j) {
      const double g = double{gradients[i].items()[j]};
      // Mostly along the gradient, where the slope is steepest, and somewhat across.
      const double along = g + 0.3 * whole / std::sqrt(static_cast<double>(direction[i].size())) *
                                   (random_uniform(trial.seed(), kDirectionStream + i, j) - 0.5);
      direction[i].items()[j] = static_cast<float>(along);
      slope += g * double{direction[i].items()[j]};
      length += along * along;
    }
    length = std::sqrt(length);
    const double t = 0.03 / std::max(whole, length) / std::max(length, 1e-30) * length;
    doing(fmt::format("losses along a direction of parameter \"{}\"", parameter));
    std::array<double, 2> estimates{};
    for (size_t half = 0; half < 2; ++half) {
      const double step = t / (half + 1.0);
      TRAINHOST_TRY(const double above, loss_along(*passes, trial, origin, direction, step));
      TRAINHOST_TRY(const double below, loss_along(*passes, trial, origin, direction, -step));
      estimates[half] = (above - below) / (2 * step);
    }
    const double measured = (4 * estimates[1] - estimates[0]) / 3, noise = 2e-6 / t;
    if (std::abs(measured - slope) > 0.02 * std::abs(slope) + noise) {
      return broken(fmt::format("parameter \"{}\": along a direction the loss changes by {:.6g}, but the gradient says {:.6g}", parameter,
                                measured, slope));
    }
  }
  return {};
}

Result<> close(double found, double expected, double scale, const std::string &what) {
  if (std::abs(found - expected) <= 2e-5 * scale) return {};
  return broken(fmt::format("{} is {:.9g}, expected {:.9g}", what, found, expected));
}

Result<> close(const Gradients &found, const Gradients &expected, const Model &model, const std::string &how) {
  const double scale = norm_of(expected);
  for (size_t i = 0; i < found.size(); ++i) {
    for (size_t j = 0; j < found[i].size(); ++j)
      TRAINHOST_CHECK(close(double{found[i].items()[j]}, double{expected[i].items()[j]}, scale,
                            fmt::format("{} the gradient of \"{}\"[{}]", how, view(model.parameters()[i].name), j)));
  }
  return {};
}

// The same sequences one at a time, adding.
Result<> cut_into_micro_batches(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch whole(trial.seed(), 0, kSequences, kLength, scale);
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(whole, expected, false));
  TRAINHOST_TRY(const double evaluated, passes->evaluate(whole));
  double sum = 0, evaluated_sum = 0;
  for (uint32_t s = 0; s < kSequences; ++s) {
    Batch one(trial.seed(), s, 1, kLength, scale);
    TRAINHOST_TRY(const double part, passes->train(one, found, s > 0));
    TRAINHOST_TRY(const double evaluated_part, passes->evaluate(one));
    sum += part;
    evaluated_sum += evaluated_part;
  }
  TRAINHOST_CHECK(
      close(evaluated_sum, evaluated, std::abs(evaluated), "cut into micro-batches of one sequence, the loss of an evaluation"));
  if (loss != evaluated) return {};  // it draws random numbers in training, for each micro-batch its own
  TRAINHOST_CHECK(close(sum, loss, std::abs(loss), "cut into micro-batches of one sequence, the loss"));
  return close(found, expected, passes->model(), "cut into micro-batches of one sequence,");
}

// Token losses sum to the loss; what has weight 0 does not count in the gradients.
Result<> losses(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch batch(trial.seed(), 0, kSequences, kLength, scale);
  TRAINHOST_TRY(const double loss, passes->evaluate(batch, true));
  double sum = 0;
  for (size_t row = 0; row < batch.rows(); ++row) sum += row % kLength == kLength - 1 ? 0 : double{batch.token_losses()[row]};
  TRAINHOST_CHECK(close(loss, sum * scale, std::abs(loss), "the loss"));
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  Batch first(trial.seed(), 0, kSequences, kLength, scale), second(trial.seed(), 0, kSequences, kLength, scale);
  for (size_t row = kLength - 1; row < second.rows(); row += kLength) second.targets()[row] = (second.targets()[row] + 1) % kVocabulary;
  TRAINHOST_CHECK(passes->train(first, expected, false));
  TRAINHOST_CHECK(passes->train(second, found, false));
  return close(found, expected, passes->model(), "with another target at a token of weight 0,");
}

// A model that looks back at most sees, in the second document of each sequence, nothing of the first; and never the tokens to come.
Result<> documents(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const auto losses_with = [&](uint32_t changed) -> Result<std::vector<float>> {
    Batch batch(trial.seed(), 0, 1, kLength, 1);
    if (changed < kLength) batch.tokens()[changed] = (batch.tokens()[changed] + 1) % kVocabulary;
    TRAINHOST_CHECK(passes->evaluate(batch, true));
    return std::vector<float>(batch.token_losses().begin(), batch.token_losses().end());
  };
  const uint32_t middle = Batch::middle(kLength);
  TRAINHOST_TRY(const auto expected, losses_with(kLength));
  for (const uint32_t changed : {0u, middle - 1, middle, kLength - 1}) {
    TRAINHOST_TRY(const auto found, losses_with(changed));
    for (uint32_t t = 0; t < kLength; ++t) {
      const bool may_see = t >= changed && (t < middle) == (changed < middle);
      if (!may_see && std::abs(found[t] - expected[t]) > 1e-5f * std::abs(expected[t]))
        return broken(fmt::format("the loss of token {} depends on token {}, which {}", t, changed,
                                  t < changed ? "comes after it" : "is of another document"));
    }
  }
  return {};
}

Result<> two_calls(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Batch first(trial.seed(), 0, kSequences, kLength, scale), second(trial.seed(), 0, kSequences, kLength, scale);
  Gradients expected = passes->zero_gradients(), found = passes->zero_gradients();
  TRAINHOST_TRY(const double loss, passes->train(first, expected, false));
  TRAINHOST_TRY(const double by_two, passes->train(second, found, false, {.two_calls = true}));
  TRAINHOST_CHECK(close(by_two, loss, std::abs(loss), "by forward and backward of the last unit, the loss"));
  return close(found, expected, passes->model(), "by forward and backward of the last unit,");
}

Result<> shapes(const Trial &trial) {
  for (const auto &[sequences, length] : {std::pair{1u, 1u}, std::pair{1u, kLength}, std::pair{7u, 1u}, std::pair{3u, 5u}}) {
    TRAINHOST_TRY(const auto passes, Passes::create(trial));
    Batch batch(trial.seed(), 0, sequences, length, loss_scale(sequences, length));
    Gradients gradients = passes->zero_gradients();
    TRAINHOST_TRY(const double loss, passes->train(batch, gradients, false));
    if (!std::isfinite(loss) || !std::isfinite(norm_of(gradients)))
      return broken(fmt::format("with {} sequences of {} tokens loss or gradients are not finite", sequences, length));
  }
  return {};
}

// Of a micro-batch that is done nothing is there any more when the next one comes, and parameters are elsewhere.
Result<> keeps_no_pointer(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  const double scale = loss_scale(kSequences, kLength);
  Gradients gradients = passes->zero_gradients();
  std::deque<Batch> gone;
  for (uint32_t s = 0; s < kSequences; ++s) {
    Batch &batch = gone.emplace_back(trial.seed(), s, 1u, kLength, scale);
    TRAINHOST_CHECK(passes->train(batch, gradients, s > 0, {.forbid = true}));
    batch.forbid();
    passes->move_parameters();
  }
  return {};
}

Result<> memory_as_told(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  TRAINHOST_TRY(const auto passes, Passes::create(trial, record));
  const Model &model = passes->model();
  if (!model.tells_memory()) return not_concerned("it has no extension th.model.memory/1");
  uint64_t saved = 0, working = 0;
  for (uint32_t unit = 0; unit <= passes->last(); ++unit) {
    doing(fmt::format("unit_memory of unit {}", unit));
    TRAINHOST_TRY(const auto memory, model.unit_memory(unit, true, true, kSequences, kLength));
    saved += unit < passes->last() ? memory.saved : 0;
    working = std::max({working, memory.forward, memory.backward + (unit == passes->last() ? memory.saved : 0)});
  }
  const uint64_t before = record->bytes_in_use();
  record->restart_peak();
  Batch batch(trial.seed(), 0, kSequences, kLength, loss_scale(kSequences, kLength));
  Gradients gradients = passes->zero_gradients();
  TRAINHOST_CHECK(passes->train(batch, gradients, false));
  const uint64_t taken = record->peak_bytes() - before;
  if (taken > saved + working) return broken(fmt::format("it took {} bytes of the host at once, but tells of {}", taken, saved + working));
  return {};
}

// The loss of a token is log(sum of exp(logits)) - the logit of its target.
Result<> logits_of_losses(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  if (!passes->model().has_logits()) return not_concerned("it has no extension th.model.logits/1");
  Batch batch(trial.seed(), 0, kSequences, kLength, 1);
  TRAINHOST_CHECK(passes->evaluate(batch, true));
  const std::vector<float> losses(batch.token_losses().begin(), batch.token_losses().end());
  const std::array<int32_t, 3> rows{kSequences * kLength - 1, 0, kLength + 1};
  TRAINHOST_TRY(const auto logits, passes->logits(batch, rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = std::span(logits).subspan(i * kVocabulary, kVocabulary);
    double sum = 0;
    for (const float logit : row) sum += std::exp(double{logit});
    const double expected = std::log(sum) - double{row[static_cast<size_t>(batch.targets()[static_cast<size_t>(rows[i])])]};
    const double found = double{losses[static_cast<size_t>(rows[i])]};
    if (!(std::abs(found - expected) <= 1e-4 * std::max(1.0, expected)))
      return broken(fmt::format("the loss of token {} is {:.6g}, but by its logits it is {:.6g}", rows[i], found, expected));
  }
  return {};
}

Result<> peak_is_a_number(const Trial &trial) {
  TRAINHOST_TRY(const auto passes, Passes::create(trial));
  doing("measure");
  TRAINHOST_TRY(const double peak, passes->model().measure_peak());
  if (peak == 0) return not_concerned("it has no extension th.model.peak/1, or knows no peak");
  return {};
}

constexpr std::array kRules{
    Rule{"TH-MOD-01", "gradients agree with finite differences of the loss, for every parameter", differences},
    Rule{"TH-MOD-02", "recomputed units give the same loss and gradients, bit for bit", recomputes},
    Rule{"TH-MOD-03", "under TH_KEEP_DURING_CALL backward does not look where parameters and input were in forward", moves},
    Rule{"TH-MOD-04", "loss and gradients do not depend on how a batch is cut into micro-batches, and are added where asked",
         cut_into_micro_batches},
    Rule{"TH-MOD-05", "token losses sum to the loss, and tokens of weight 0 do not count", losses},
    Rule{"TH-MOD-06", "a token's loss depends on its own document up to itself only", documents},
    Rule{"TH-MOD-07", "loss_and_backward is the last unit's forward and backward", two_calls},
    Rule{"TH-MOD-08", "works for a single token, for one sequence and for many", shapes},
    Rule{"TH-MOD-09", "takes no more memory of the host than th.model.memory/1 tells", memory_as_told},
    Rule{"TH-MOD-10", "keeps no pointer to anything of a micro-batch that is done", keeps_no_pointer},
    Rule{"TH-MOD-11", "its logits are those of its losses", logits_of_losses},
    Rule{"TH-MOD-12", "measures its peak as a finite number of operations per second", peak_is_a_number},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &model_rules() { return kKind; }

}  // namespace trainhost::validator
