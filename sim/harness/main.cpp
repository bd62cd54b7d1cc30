// main.cpp: runs frames [first, last) of a design through its Verilated RTL and checks every beat of every stream.
//
//   --plan FILE       `<stream> <file>` per line; a file holds uint32 [frames][beats][words]
//   --first A --last B            frames of the files to run (B exclusive)
//   --stall none|source|sink|random   --seed N
//   --max-cycles N    bound on the whole run         --idle-cycles N   cycles without any beat that count as a hang
//   --stop-after N    faulty beats after which to stop                  --report FILE      result as JSON
//   --outputs PREFIX  words that left each output, in PREFIX<i>.bin     --trace FILE       waves (tracing builds only)
//
// Exit 0 if every beat was right, 1 if not, 2 on a bad command line or an I/O error. The report says what was found.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>

#include "plan.h"
#include "report.h"

namespace hwq {

constexpr unsigned kResetCycles = 8;
constexpr unsigned kDrainCycles = 64;  // after the last beat: nothing more may come out
constexpr std::uint64_t kPeriodNs = 10;

class Run {
 public:
  explicit Run(const Options& options)
      : first_(static_cast<unsigned>(options.number("first"))),
        last_(static_cast<unsigned>(options.number("last"))),
        max_cycles_(options.number("max-cycles")),
        idle_cycles_(options.number("idle-cycles")),
        stop_after_(options.number("stop-after", 1)),
        outputs_(options.get("outputs", "")),
        faults_(std::min<std::uint64_t>(stop_after_, 1000)),
        monitors_(kStreamCount),
        waves_(model_, options.get("trace", "")) {
    load(read_plan(options.get("plan")));
    const Regime regime = Regime::parse(options.get("stall", "none"));
    const std::uint64_t seed = options.number("seed", 0);
    for (unsigned i = 0; i < kInputCount; ++i) sources_.emplace_back(regime.source, seed, i);
    for (unsigned i = 0; i < kOutputCount; ++i) sinks_.emplace_back(regime.sink, seed, kInputCount + i);
    offering_.assign(kInputCount, false);
    collected_.resize(kOutputCount);
    outcome_.first_in.assign(last_ - first_, ~std::uint64_t{0});
    outcome_.last_out.assign(last_ - first_, 0);
    outcome_.levels.assign(kLevelCount + kReplayCount, 0);
    outcome_.valid.assign(kStreamCount, false);
    outcome_.ready.assign(kStreamCount, false);
  }

  /// Reset, all frames, drain. Returns true if nothing was wrong.
  bool run() {
    reset();
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t cpu_start = std::clock();
    std::uint64_t idle = 0;
    unsigned drain = 0;
    while (outcome_.end.empty()) {
      drive();
      edge(0);
      idle = watch() ? 0 : idle + 1;
      if (__builtin_expect(faults_.count() >= stop_after_, 0)) {
        outcome_.end = "faults";
      } else if (__builtin_expect(idle > kDrainCycles, 0)) {
        const bool done = all_done();
        if (done && ++drain >= kDrainCycles) outcome_.end = "done";
        if (!done && idle >= idle_cycles_) outcome_.end = "hang";
      }
      if (__builtin_expect(cycle_ >= max_cycles_, 0) && outcome_.end.empty()) outcome_.end = "cycles";
      if (!outcome_.end.empty()) remember_handshakes();
      edge(1);
      ++cycle_;
    }
    outcome_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    outcome_.cpu_seconds = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    outcome_.cycles = cycle_;
    waves_.close();
    model_.final();
    save_outputs();
    return outcome_.end == "done" && faults_.count() == 0;
  }

  void report(const std::string& path) const { write_report(path, outcome_, monitors_, faults_); }

 private:
  void load(const std::map<std::string, std::string>& plan) {
    if (first_ >= last_) throw std::runtime_error("no frames: --first must be below --last");
    for (unsigned i = 0; i < kStreamCount; ++i) {
      const StreamRow& row = kStreams[i];
      const auto it = plan.find(row.name);
      if (it == plan.end()) throw std::runtime_error(std::string("the plan has no file for stream ") + row.name);
      std::unique_ptr<WordFile>& file = files_[it->second];
      if (!file) file = std::make_unique<WordFile>(it->second);
      if (file->words() < static_cast<std::size_t>(last_) * row.beats * row.words)
        throw std::runtime_error(it->second + ": too short for the frames asked");
      monitors_[i].start(i, row, file->data(), first_, last_, faults_);
    }
  }

  void edge(unsigned clk) {
    model_.clk = clk;
    model_.eval();
    waves_.dump(time_ns_);
    time_ns_ += kPeriodNs / 2;
  }

  void reset() {
    model_.rst_n = 0;
#define HWQ_ROW(index, stream, valid, ...) model_.valid = 0;
    HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, stream, valid, ready, ...) model_.ready = 0;
    HWQ_OUTPUTS(HWQ_ROW)
#undef HWQ_ROW
    for (unsigned i = 0; i < kResetCycles; ++i) edge(0), edge(1);
    model_.rst_n = 1;
  }

  /// Inputs of this cycle. A beat once offered stays until taken.
  void drive() {
#define HWQ_ROW(index, stream, valid, ready, data, last, words)                         \
  {                                                                                     \
    const Monitor& m = monitors_[stream];                                               \
    const bool open = sources_[index].open();                                           \
    const bool offer = !m.done() && (offering_[index] || open);                         \
    offering_[index] = offer;                                                           \
    model_.valid = offer;                                                               \
    if (offer) put<words>(model_.data, m.expect()), model_.last = m.last_beat();        \
  }
    HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, stream, valid, ready, ...) model_.ready = sinks_[index].open();
    HWQ_OUTPUTS(HWQ_ROW)
#undef HWQ_ROW
  }

  /// Check all streams in the cycle before the edge. Returns true if any beat moves.
  bool watch() {
#define HWQ_ROW(index, stream, valid, ready, data, last, words)                         \
  if (model_.valid && model_.ready) {                                                   \
    offering_[index] = false;                                                           \
    const Monitor& m = monitors_[stream];                                               \
    if (m.first_beat() && !m.done()) {                                                  \
      std::uint64_t& t = outcome_.first_in[m.frame() - first_];                         \
      t = std::min(t, cycle_);                                                          \
    }                                                                                   \
  }
    HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, stream, valid, ready, data, last, words)                         \
  if (model_.valid) {                                                                   \
    const Monitor& m = monitors_[stream];                                               \
    if (!m.done() && static_cast<bool>(model_.last) != m.last_beat()) tlast(stream);    \
    if (model_.ready && !m.done()) {                                                    \
      std::vector<Word>& out = collected_[index];                                       \
      out.resize(out.size() + words);                                                   \
      fetch<words>(model_.data, &*out.end() - words);                                   \
      if (m.last_beat()) outcome_.last_out[m.frame() - first_] = cycle_;                \
    }                                                                                   \
  }
    HWQ_OUTPUTS(HWQ_ROW)
#undef HWQ_ROW
    bool moved = false;
#define HWQ_ROW(index, name, valid, ready, data, words, lanes, bits, beats, repeat, group)     \
  moved |= monitors_[index].watch<words>(model_.valid, model_.ready, model_.data, cycle_);
    HWQ_STREAMS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, name, level) \
  outcome_.levels[index] = std::max<std::uint64_t>(outcome_.levels[index], model_.level);
    HWQ_LEVELS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, name, in, out)                                                   \
  outcome_.levels[kLevelCount + index] = std::max<std::uint64_t>(                       \
      outcome_.levels[kLevelCount + index], monitors_[in].moved() - monitors_[out].released());
    HWQ_REPLAYS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, name, flag) \
  if (__builtin_expect(model_.flag, 0)) edge_flag(index);
    HWQ_FLAGS(HWQ_ROW)
#undef HWQ_ROW
    return moved;
  }

  bool all_done() const {
    return std::all_of(monitors_.begin(), monitors_.end(), [](const Monitor& m) { return m.done(); });
  }

  void remember_handshakes() {
#define HWQ_ROW(index, name, tvalid, tready, ...) \
  outcome_.valid[index] = model_.tvalid, outcome_.ready[index] = model_.tready;
    HWQ_STREAMS(HWQ_ROW)
#undef HWQ_ROW
  }

  void tlast(unsigned stream) {
    const Monitor& m = monitors_[stream];
    faults_.add({"tlast", stream, cycle_, m.frame(), m.pass(), m.beat(), {}});
  }

  void edge_flag(unsigned index) {
    faults_.add({"edge", kStreamCount + index, cycle_, monitors_[kInputStream[0]].frame(), 0, 0, {}});
  }

  void save_outputs() const {
    for (unsigned i = 0; !outputs_.empty() && i < kOutputCount; ++i) {
      const std::string path = outputs_ + std::to_string(i) + ".bin";
      std::FILE* out = std::fopen(path.c_str(), "wb");
      const std::vector<Word>& words = collected_[i];
      const bool ok = out != nullptr && std::fwrite(words.data(), sizeof(Word), words.size(), out) == words.size();
      if (out == nullptr || std::fclose(out) != 0 || !ok) throw std::runtime_error(path + ": can't be written");
    }
  }

  const unsigned first_, last_;
  const std::uint64_t max_cycles_, idle_cycles_, stop_after_;
  const std::string outputs_;
  Vhwq_model model_;
  Faults faults_;
  std::vector<Monitor> monitors_;
  Waves waves_;
  std::map<std::string, std::unique_ptr<WordFile>> files_;
  std::vector<Gate> sources_, sinks_;
  std::vector<unsigned char> offering_;
  std::vector<std::vector<Word>> collected_;
  std::uint64_t cycle_ = 0, time_ns_ = 0;
  Outcome outcome_;
};

}  // namespace hwq

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error to report, as on a full disk
  try {
    const hwq::Options options(argc, argv);
    hwq::Run run(options);
    const bool ok = run.run();
    run.report(options.get("report"));
    return ok ? 0 : 1;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
}
