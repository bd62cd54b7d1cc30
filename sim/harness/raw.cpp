// raw.cpp: the reference of benchmarks/sim_speed: clocks the bare top at full rate, checks and records nothing.
//   --plan FILE --first A --last B --cycles N      stimulus as for main.cpp; frames A..B repeat until N cycles are done
// Prints cycles per second of processor time.
#include <cstdio>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>
#include <vector>

#include "model.h"
#include "plan.h"

namespace hwq {
namespace {

struct Stimulus {
  const Word* at;
  const Word* begin;
  const Word* end;
};

double clock_model(const Options& options) {
  const std::uint64_t first = options.number("first"), last = options.number("last"), cycles = options.number("cycles");
  const auto plan = read_plan(options.get("plan"));
  std::vector<std::unique_ptr<WordFile>> files;
  std::vector<Stimulus> inputs;
  for (unsigned i = 0; i < kInputCount; ++i) {
    const StreamRow& row = kStreams[kInputStream[i]];
    files.push_back(std::make_unique<WordFile>(plan.at(row.name)));
    const std::size_t frame = static_cast<std::size_t>(row.beats) * row.words;
    const Word* base = files.back()->data();
    inputs.push_back({base + first * frame, base + first * frame, base + last * frame});
  }
  Vhwq_model model;
  model.rst_n = 0;
  for (unsigned i = 0; i < 8; ++i) model.clk = 0, model.eval(), model.clk = 1, model.eval();
  model.rst_n = 1;
#define HWQ_ROW(index, stream, valid, ...) model.valid = 1;
  HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
#define HWQ_ROW(index, stream, valid, ready, ...) model.ready = 1;
  HWQ_OUTPUTS(HWQ_ROW)
#undef HWQ_ROW
  unsigned long long beat[kInputCount] = {};
  const std::clock_t start = std::clock();
  for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
#define HWQ_ROW(index, stream, valid, ready, data, last_, words) \
  put<words>(model.data, inputs[index].at);                      \
  model.last_ = beat[index] + 1 == kStreams[stream].beats;
    HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
    model.clk = 0;
    model.eval();
#define HWQ_ROW(index, stream, valid, ready, data, last_, words)            \
  if (model.ready) {                                                        \
    if ((inputs[index].at += words) == inputs[index].end) inputs[index].at = inputs[index].begin; \
    if (++beat[index] == kStreams[stream].beats) beat[index] = 0;           \
  }
    HWQ_INPUTS(HWQ_ROW)
#undef HWQ_ROW
    model.clk = 1;
    model.eval();
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  model.final();
  return static_cast<double>(cycles) / seconds;
}

}  // namespace
}  // namespace hwq

int main(int argc, char** argv) {
  try {
    std::printf("%.0f\n", hwq::clock_model(hwq::Options(argc, argv)));
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
}
