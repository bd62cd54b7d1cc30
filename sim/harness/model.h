// model.h: the Verilated model and the generated table of its streams, turned into plain constants.
#pragma once
#include <cerrno>
#include <stdexcept>

#include "Vhwq_model.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#elif VM_TRACE_VCD
#include "verilated_vcd_c.h"
#endif

#include "monitor.h"
#include "streams.h"

namespace hwq {

#define HWQ_ROW(index, name, valid, ready, data, words, lanes, bits, beats, repeat, group) \
  {name, words, lanes, bits, beats, repeat, group},
inline constexpr StreamRow kStreams[] = {HWQ_STREAMS(HWQ_ROW)};
#undef HWQ_ROW
inline constexpr unsigned kStreamCount = sizeof(kStreams) / sizeof(kStreams[0]);

#define HWQ_ROW(...) +1
inline constexpr unsigned kInputCount = 0 HWQ_INPUTS(HWQ_ROW);
inline constexpr unsigned kOutputCount = 0 HWQ_OUTPUTS(HWQ_ROW);
inline constexpr unsigned kLevelCount = 0 HWQ_LEVELS(HWQ_ROW);
inline constexpr unsigned kReplayCount = 0 HWQ_REPLAYS(HWQ_ROW);
inline constexpr unsigned kFlagCount = 0 HWQ_FLAGS(HWQ_ROW);
#undef HWQ_ROW

#define HWQ_ROW(index, stream, ...) stream,
inline constexpr unsigned kInputStream[] = {HWQ_INPUTS(HWQ_ROW)};
inline constexpr unsigned kOutputStream[] = {HWQ_OUTPUTS(HWQ_ROW)};
#undef HWQ_ROW

#define HWQ_ROW(index, name, ...) name,
inline constexpr const char* kLevelName[] = {HWQ_LEVELS(HWQ_ROW) HWQ_REPLAYS(HWQ_ROW) nullptr};
inline constexpr const char* kFlagName[] = {HWQ_FLAGS(HWQ_ROW) nullptr};
#undef HWQ_ROW

#if VM_TRACE_VCD
/// A file whose failed writes are remembered: Verilator's own writer waits for itself for ever on a full disk.
class CheckedFile final : public VerilatedVcdFile {
 public:
  ssize_t write(const char* data, ssize_t size) override {
    const ssize_t got = failed_ ? size : VerilatedVcdFile::write(data, size);
    failed_ = failed_ || (got < 0 && errno != EAGAIN && errno != EINTR);
    return failed_ ? size : got;
  }
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};
#endif

/// Writes waves when the model was built with tracing; nothing otherwise.
class Waves {
 public:
  Waves(Vhwq_model& model, const std::string& path) {
    if (path.empty()) return;
#if VM_TRACE
    Verilated::traceEverOn(true);
    model.trace(&file_, 99);
    file_.open(path.c_str());
    if (!file_.isOpen()) throw std::runtime_error(path + ": can't be written");
    on_ = true;
#else
    (void)model;
    throw std::runtime_error("this model was built without tracing");
#endif
  }
  void dump(std::uint64_t time_ns) {
#if VM_TRACE
    if (on_) file_.dump(time_ns);
    check();
#else
    (void)time_ns;
#endif
  }
  void close() {
#if VM_TRACE
    if (on_) file_.close();
    check();
#endif
  }

 private:
  void check() const {
#if VM_TRACE_VCD
    if (writer_.failed()) throw std::runtime_error("the waves can't be written (disk full?)");
#endif
  }
#if VM_TRACE_FST
  VerilatedFstC file_;
#elif VM_TRACE_VCD
  CheckedFile writer_;
  VerilatedVcdC file_{&writer_};
#endif
#if VM_TRACE
  bool on_ = false;
#endif
};

}  // namespace hwq
