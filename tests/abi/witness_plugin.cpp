// A plugin with everything that a compiler is prone to export: inline functions with state, templates, inline and thread-local variables,
// a class with virtual functions, and functions with C linkage.
#include <map>
#include <string>

#include <trainhost/cpp/lr_scheduler.hpp>

struct Shape {
  virtual ~Shape() = default;
  virtual double at(double x) const { return x; }
};
template <class Number>
struct Line : Shape {
  static inline Number slope = 1;
  double at(double x) const override { return static_cast<double>(slope) * x; }
};
inline thread_local int calls = 0;
inline std::map<std::string, double> &known_values() {
  static std::map<std::string, double> values{{"one", 1.0}};
  return values;
}
extern "C" double witness_value(double x) { return Line<float>().at(x) * known_values().at("one"); }

namespace {

class Witness {
 public:
  Witness(const trainhost::sdk::Host &, const trainhost::sdk::Config &, const th_progress &) {}
  void values(const th_progress &progress, th_schedule_values &out) const {
    ++calls;
    out.learning_rate = witness_value(static_cast<double>(progress.step));
  }
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, trainhost::sdk::lr_scheduler_table<Witness>)
