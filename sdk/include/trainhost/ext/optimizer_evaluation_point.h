/* Optional interface of an optimizer whose parameters have two points: one at which gradients are taken, and one, as an average of the
 * weights that were passed, that is worth evaluating.
 *
 * The host keeps the parameters at the training point while it trains: update finds them there and leaves them there. It moves them to the
 * evaluation point before it measures held-out loss, writes samples or saves, and back before the next update. So a checkpoint has the
 * evaluation point in its parameters, for whoever reads it, and a run that goes on from one begins with to_training. Before the first update
 * both points are the parameters as they begin, and neither function is called. */
#pragma once

#include "../kinds/optimizer.h"

#define TH_EXT_OPTIMIZER_EVALUATION_POINT "th.optimizer.evaluation_point/1"

/* Called in turn, by an instance of the phase whose update was the last one. parameters: the shards that update gets; the gradients have no
 * data, and rates are 0. Masters, compute copies and states are changed in place, as functions of masters and states; to_training after
 * to_evaluation gives back all their bits. A run may begin with the average of checkpoints, whose states are those of the newest one. On
 * CUDA enqueued on the stream. No allocation, no synchronisation. All or nothing: on failure no element has changed, and the run ends. */
typedef struct th_optimizer_evaluation_point {
  uint32_t struct_size, reserved;
  th_status (*to_evaluation)(th_optimizer *, const th_update *parameters, uint32_t count, void *stream); /* [step] */
  th_status (*to_training)(th_optimizer *, const th_update *parameters, uint32_t count, void *stream);   /* [step] */
} th_optimizer_evaluation_point;
