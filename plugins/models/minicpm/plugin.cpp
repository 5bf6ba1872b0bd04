#include "model.h"

TRAINHOST_PLUGIN(TH_KIND_MODEL, trainhost::sdk::model_table<trainhost::minicpm::Model>)
