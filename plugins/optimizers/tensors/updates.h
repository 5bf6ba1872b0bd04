// The functions behind TensorOptimizers, where they are described.
#pragma once

#include "tensors/tensor_optimizers.h"

namespace tensors {

// elementwise.cpp
UpdateAll<AdamSettings> adam;
UpdateAll<AdagradSettings> adagrad;
UpdateAll<LionSettings> lion;
UpdateAll<AdEMAMixSettings> ademamix;
void sgd(const SgdSettings &settings, const th_update_call &call, std::span<const th_update> updates, bool has_buffer);

// whole_tensors.cpp
UpdateAll<LambSettings> lamb;
UpdateAll<AdafactorSettings> adafactor;
UpdateAll<ScheduleFreeSettings> schedule_free;
void swap_with_state(std::span<const th_update> parameters, size_t state, void *stream);

// muon.cpp
void muon(const MuonSettings &settings, const th_update_call &call, const th_update &update);
MultiplyAdd multiply_add;

}  // namespace tensors
