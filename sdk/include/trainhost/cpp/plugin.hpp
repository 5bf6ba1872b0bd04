// The C++20 layer over the C headers: write a class, name it in one macro, throw what goes wrong. Header-only, hidden in the
// plugin, no state in inline variables; nothing of the standard library crosses the boundary.
//
//   class Halving { public: Halving(const Host &, const Config &, const th_progress &run); ... };
//   TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, trainhost::sdk::lr_scheduler_table<Halving>)
#pragma once

#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../plugin.h"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  inline std::string_view view(th_string text) { return {text.data, text.length}; }
  inline th_string to_string(std::string_view text) { return {text.data(), text.size()}; }
  inline std::span<const uint8_t> view(th_bytes bytes) { return {bytes.data, bytes.length}; }

  // What a plugin throws to fail a call: the host shows the text with the plugin's name before it. Say what was found and what was
  // expected.
  class Failure : public std::exception {
   public:
    Failure(th_status code, std::string text) : code_(code), text_(std::move(text)) {}
    th_status code() const noexcept { return code_; }
    const char *what() const noexcept override { return text_.c_str(); }

   private:
    th_status code_;
    std::string text_;
  };

  // Throws when a call of the host failed; its text is recorded already.
  inline void check(th_status status, const char *what) {
    if (status != TH_OK) throw Failure(status, what);
  }

  // The host's services. Cheap to copy; valid as long as the instance that it was given to.
  class Host {
   public:
    explicit Host(const th_host *host) : host_(host) {}

    void log(int32_t level, std::string_view text) const { host_->log(host_, level, to_string(text)); }
    void metric(std::string_view name, double value) const { host_->metric(host_, to_string(name), value); }
    void progress(std::string_view what, uint64_t done, uint64_t total) const { host_->progress(host_, to_string(what), done, total); }
    bool cancelled() const { return host_->cancelled(host_) != 0; }

    // Throws std::bad_alloc when there is none.
    void *allocate(size_t bytes, size_t alignment = 64, void *stream = nullptr) const {
      void *memory = host_->allocate(host_, bytes, alignment, stream);
      if (memory == nullptr) throw std::bad_alloc();
      return memory;
    }
    void deallocate(void *memory, size_t bytes, void *stream = nullptr) const { host_->deallocate(host_, memory, bytes, stream); }

    // body(begin, end) over [0, count) on the host's thread pool; body must not throw.
    template <class Body>
    void parallel_for(int64_t count, int64_t grain, Body &&body) const {
      auto call = [](void *context, int64_t begin, int64_t end) { (*static_cast<std::remove_reference_t<Body> *>(context))(begin, end); };
      host_->parallel_for(host_, count, grain, call, const_cast<void *>(static_cast<const void *>(&body)));
    }

    // A service by id, or null.
    template <class Table>
    const Table *extension(std::string_view id) const {
      return static_cast<const Table *>(host_->get_extension(host_, to_string(id)));
    }
    const th_host *get() const { return host_; }

   private:
    const th_host *host_;
  };

  // The instance's parameters; valid while it is being created. Throws when the manifest has no such parameter of that type.
  class Config {
   public:
    Config(const th_host *host, const th_config *config) : host_(host), config_(config) {}

    int64_t integer(std::string_view name) const {
      int64_t value = 0;
      found(host_->get_integer(config_, to_string(name), &value), "integer", name);
      return value;
    }
    double number(std::string_view name) const {
      double value = 0;
      found(host_->get_number(config_, to_string(name), &value), "number", name);
      return value;
    }
    bool boolean(std::string_view name) const {
      int32_t value = 0;
      found(host_->get_boolean(config_, to_string(name), &value), "boolean", name);
      return value != 0;
    }
    std::string string(std::string_view name) const {
      th_string value{};
      found(host_->get_string(config_, to_string(name), &value), "string", name);
      return std::string(view(value));
    }
    // In tokens of the run's token axis.
    double amount(std::string_view name) const {
      double value = 0;
      found(host_->get_amount(config_, to_string(name), &value), "amount", name);
      return value;
    }

    // Of an amount that stands in a string, as "2%", likewise. Throws Failure where it is none.
    double resolve_amount(std::string_view text) const {
      double value = 0;
      if (host_->resolve_amount(config_, to_string(text), &value) == TH_OK) return value;
      throw Failure(TH_INVALID, "\"" + std::string(text) + "\" is no amount such as \"500 steps\", \"2M tokens\" or \"10%\"");
    }

   private:
    static void found(th_status status, const char *type, std::string_view name) {
      if (status != TH_OK) throw Failure(status, std::string("its manifest has no ") + type + " parameter \"" + std::string(name) + "\"");
    }

    const th_host *host_;
    const th_config *config_;
  };

  // Runs body; turns whatever it throws into a status with its text, so that no exception crosses the boundary.
  template <class Body>
  th_status guard(const th_host *host, Body &&body) noexcept {
    try {
      body();
      return TH_OK;
    } catch (const Failure &failure) {
      return host->fail(host, failure.code(), to_string(failure.what()));
    } catch (const std::bad_alloc &) {
      return host->fail(host, TH_OUT_OF_MEMORY, to_string("out of memory"));
    } catch (const std::exception &exception) {
      return host->fail(host, TH_INTERNAL, to_string(exception.what()));
    } catch (...) {
      return host->fail(host, TH_INTERNAL, to_string("an exception that is not a std::exception"));
    }
  }

  // What stands behind a C instance pointer: the author's object and the host it talks to.
  template <class Object>
  struct Instance {
    const th_host *host;
    Object object;

    template <class Handle>
    static Instance *of(Handle *handle) {
      return reinterpret_cast<Instance *>(handle);
    }
    template <class Handle>
    static const Instance *of(const Handle *handle) {
      return reinterpret_cast<const Instance *>(handle);
    }

    template <class Handle, class... Arguments>
    static th_status create(const th_host *host, Handle **out, Arguments &&...arguments) noexcept {
      return guard(host, [&] { *out = reinterpret_cast<Handle *>(new Instance{host, Object(std::forward<Arguments>(arguments)...)}); });
    }
    template <class Handle>
    static void destroy(Handle *handle) noexcept {
      delete of(handle);
    }
  };

  // Appends to a sink of the host; throws on failure.
  template <class Item>
  void append(const th_sink *sink, std::span<const Item> items) {
    check(sink->append(sink->context, items.data(), items.size()), "the host refused the result");
  }

}  // namespace v1_0
}  // namespace trainhost::sdk

// The plugin's one export: offers `table` under `kind`.
#define TRAINHOST_PLUGIN(kind, ...)                                                              \
  static const void *trainhost_get_kind(th_string id) {                                          \
    return trainhost::sdk::view(id) == kind ? static_cast<const void *>(&__VA_ARGS__) : nullptr; \
  }                                                                                              \
  TRAINHOST_EXPORT const th_plugin *trainhost_plugin_entry(const th_host *) {                    \
    static const th_plugin plugin{sizeof(th_plugin), 0, trainhost_get_kind};                     \
    return &plugin;                                                                              \
  }
