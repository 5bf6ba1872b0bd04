#include "metrics/console.h"

#include <chrono>
#include <cstdlib>
#include <limits>
#include <mutex>

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "metrics/progress_layout.h"
#include "metrics/report_layout.h"

namespace trainhost {
namespace {

constexpr double kRedrawSeconds = 0.1;  // a line is drawn at most ten times a second
constexpr double kQuietSeconds = 5;     // between two plain lines
constexpr double kQuietShare = 0.01;    // of the way, likewise

// When plain output speaks: first, at the end, and in between when both quiet times are over.
class Cadence {
 public:
  bool due(double seconds, double share) {
    const bool speaks = share >= 1 || (seconds - seconds_ >= kQuietSeconds && share - share_ >= kQuietShare);
    if (speaks) *this = Cadence(seconds, share);
    return speaks;
  }
  Cadence() = default;

 private:
  Cadence(double seconds, double share) : seconds_(seconds), share_(share) {}
  double seconds_ = -std::numeric_limits<double>::infinity(), share_ = -1;
};

class StreamConsole final : public Console {
 public:
  StreamConsole(std::FILE *out, ConsoleMode mode) : out_(out), mode_(std::move(mode)), palette_(mode_.colour), evaluations_(palette_) {
    if (!mode_.redraw) return;
    // The lock is held while a message is written, so that nobody draws in between.
    set_log_hooks([this] { mutex_.lock(), erase(); }, [this] { draw(), mutex_.unlock(); });
  }

  ~StreamConsole() override {
    if (!mode_.redraw) return;
    set_log_hooks({}, {});
    if (!line_.empty()) write("\n");  // the last line stays
  }

  void begin(const RunSummary &run) override {
    std::lock_guard lock(mutex_);
    run_.begin(run);
    print(run_text(run, palette_));
  }

  void phase(const PhaseReport &report) override {
    std::lock_guard lock(mutex_);
    print(phase_text(report, palette_));
  }

  void batch(const BatchReport &report) override {
    std::lock_guard lock(mutex_);
    run_.observe(report);
    print(batch_text(report, palette_));
  }

  void step(const StepReport &report) override {
    std::lock_guard lock(mutex_);
    run_.observe(report);
    if (mode_.redraw) {
      redraw(run_.finished(), [&](size_t width) { return run_.line(width); });
    } else if (run_cadence_.due(mode_.seconds(), run_.share())) {
      write(run_.plain_line() + "\n");
    }
  }

  void evaluation(const EvaluationReport &report) override {
    std::lock_guard lock(mutex_);
    print(evaluations_.next(report));
  }

  void epochs(const EpochReport &report) override {
    std::lock_guard lock(mutex_);
    print(epochs_text(report));
  }

  void panel(const PanelReport &report) override {
    std::lock_guard lock(mutex_);
    print(panel_text(report, palette_));
  }

  void sample(const TextSample &sample) override {
    std::lock_guard lock(mutex_);
    print(sample_text(sample, palette_));
  }

  void progress(std::string_view what, uint64_t done, uint64_t total) override {
    std::lock_guard lock(mutex_);
    if (what != work_) start_work(what);
    const double seconds = mode_.seconds() - work_start_;
    const double share = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    if (mode_.redraw && share < 1) {
      redraw(false, [&](size_t width) { return work_line(what, done, total, seconds, width); });
    } else if (mode_.redraw || work_cadence_.due(mode_.seconds(), share)) {
      erase();
      line_.clear();
      write(work_plain_line(what, done, total, seconds) + "\n");
    }
    if (share >= 1) work_.clear();
  }

 private:
  void start_work(std::string_view what) {
    work_ = what;
    work_start_ = mode_.seconds();
    work_cadence_ = {};
  }

  // Lets the line be what `layout` says for the present width, unless it was drawn just now.
  template <class Layout>
  void redraw(bool always, Layout &&layout) {
    const double now = mode_.seconds();
    if (!always && now - drawn_ < kRedrawSeconds) return;
    drawn_ = now;
    line_ = layout(mode_.width() - 1);  // a line as wide as the terminal would wrap
    draw();
  }

  void print(const std::string &text) {
    erase();
    write(text);
    draw();
  }

  void erase() {
    if (!line_.empty()) write("\r\x1b[K");
  }
  void draw() {
    if (!line_.empty()) write("\r" + line_ + "\x1b[K");
  }
  void write(const std::string &text) {
    std::fwrite(text.data(), 1, text.size(), out_);
    std::fflush(out_);
  }

  std::mutex mutex_;
  std::FILE *out_;
  ConsoleMode mode_;
  Palette palette_;
  EvaluationTables evaluations_;
  RunProgress run_;
  Cadence run_cadence_, work_cadence_;
  std::string work_;  // what progress() last spoke of; empty: none under way
  double work_start_ = 0;
  std::string line_;  // on the terminal now; empty: none
  double drawn_ = -std::numeric_limits<double>::infinity();
};

size_t terminal_width(int descriptor) {
  winsize size{};
  const bool known = ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

ConsoleMode console_mode(int descriptor, const char *term, const char *no_color) {
  const bool redraw = isatty(descriptor) != 0 && term != nullptr && std::string_view(term) != "dumb";
  return {.redraw = redraw,
          .colour = redraw && (no_color == nullptr || *no_color == '\0'),
          .width = [descriptor] { return terminal_width(descriptor); },
          .seconds = steady_seconds};
}

std::unique_ptr<Console> make_console(std::FILE *out, ConsoleMode mode) { return std::make_unique<StreamConsole>(out, std::move(mode)); }

std::unique_ptr<Console> open_console() {
  return make_console(stdout, console_mode(STDOUT_FILENO, std::getenv("TERM"), std::getenv("NO_COLOR")));
}

}  // namespace trainhost
