// Adam, with the semantics of torch.optim.Adam; formulas in elementwise/adam.hpp.
#include "trainhost/cpp/optimizer.hpp"

#include "elementwise/adam.hpp"

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, trainhost::sdk::optimizer_table<elementwise::Adam<false>>)
