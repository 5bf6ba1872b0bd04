// Mixes that depend on the size of the model: a larger one may want more code, say.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "recipe/recipe.h"

namespace trainhost {

// The shares that a table has for a model of so many parameters, without those of embeddings: between two rows along a line in the
// logarithm of the parameters, beyond the first and the last row theirs. The rows ascend and there is one at least; where each sums to 1,
// so do the shares. A source that only one of two rows names has no share in the other. Machines whose logarithms differ in the last bits
// give the same shares.
std::map<std::string, double> mix_at_size(const std::vector<SizedMix> &table, uint64_t parameters);

// Whether a phase or branch has a table.
bool has_mix_by_size(const Recipe &recipe);

// What a table came to.
struct SettledMix {
  std::string text;      // for the user: phase or branch, parameters, shares, and which rows they are of
  bool outside = false;  // of the table's rows
};

// Puts in the place of every table, of phases and branches, the mix that it has for so many parameters. One entry for each.
std::vector<SettledMix> settle_mixes(Recipe &recipe, uint64_t parameters);

}  // namespace trainhost
