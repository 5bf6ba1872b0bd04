// trainhost-plugin VERB: what plugin authors work with.
#include "base/command_line.h"
#include "doctor_verb.h"
#include "inspect_verb.h"
#include "new_verb.h"
#include "validate_verb.h"

namespace trainhost {
namespace {

Verbs all_verbs() { return {{"doctor", doctor_verb()}, {"inspect", inspect_verb()}, {"new", new_verb()}, {"validate", validate_verb()}}; }

}  // namespace
}  // namespace trainhost

int main(int argc, char **argv) {
  const trainhost::CommandLine command_line{.program = "trainhost-plugin",
                                            .version = TRAINHOST_VERSION,
                                            .about = "makes, looks into and validates plugins of trainhost",
                                            .without_arguments = "name a verb",
                                            .default_verb = "",
                                            .verbs = trainhost::all_verbs()};
  return trainhost::exit_code_of(command_line.run({argv + 1, argv + argc}));
}
