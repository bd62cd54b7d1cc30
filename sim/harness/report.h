// report.h: what a run found, as one JSON file that is either whole or absent.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.h"

namespace hwq {

struct Outcome {
  std::uint64_t cycles = 0;
  double seconds = 0, cpu_seconds = 0;
  std::string end;  // done | faults | hang | cycles (bound reached)
  std::vector<std::uint64_t> first_in, last_out;  // cycle of the first beat in and the last beat out of each frame
  std::vector<std::uint64_t> levels;              // high-water mark of each FIFO
  std::vector<bool> valid, ready;                 // handshake of each stream in the last cycle
};

class Json {
 public:
  explicit Json(std::FILE* out) : out_(out) {}
  void open(const char* key, char bracket) { lead(key), std::fputc(bracket, out_), first_ = true; }
  void close(char bracket) { std::fputc(bracket, out_), first_ = false; }
  void number(const char* key, std::uint64_t v) { lead(key), std::fprintf(out_, "%llu", static_cast<unsigned long long>(v)); }
  void real(const char* key, double v) { lead(key), std::fprintf(out_, "%.9g", v); }
  void text(const char* key, const std::string& v) { lead(key), std::fprintf(out_, "\"%s\"", v.c_str()); }
  template <class List>
  void numbers(const char* key, const List& list) {
    open(key, '[');
    for (auto v : list) number(nullptr, v);
    close(']');
  }

 private:
  void lead(const char* key) {
    if (!first_) std::fputs(",\n", out_);
    first_ = false;
    if (key != nullptr) std::fprintf(out_, "\"%s\": ", key);
  }
  std::FILE* out_;
  bool first_ = true;
};

inline void write_report(const std::string& path, const Outcome& run, const std::vector<Monitor>& monitors,
                         const Faults& faults) {
  const std::string partial = path + "." + std::to_string(::getpid()) + ".tmp";
  std::FILE* out = std::fopen(partial.c_str(), "w");
  if (out == nullptr) throw std::runtime_error(partial + ": can't be written");
  Json json(out);
  json.open(nullptr, '{');
  json.text("end", run.end);
  json.number("cycles", run.cycles);
  json.real("seconds", run.seconds);
  json.real("cpu_seconds", run.cpu_seconds);
  json.number("fault_beats", faults.count());
  json.number("fault_values", faults.values());
  json.numbers("first_in", run.first_in);
  json.numbers("last_out", run.last_out);
  json.open("streams", '[');
  for (unsigned i = 0; i < kStreamCount; ++i) {
    const Monitor& m = monitors[i];
    json.open(nullptr, '{');
    json.text("name", kStreams[i].name);
    json.number("moved", m.moved());
    json.number("stalled", m.stalled());
    json.number("starved", m.starved());
    json.number("frame", m.frame());
    json.number("pass", m.pass());
    json.number("beat", m.beat());
    json.number("done", m.done());
    json.numbers("ends", m.ends());
    json.number("tvalid", run.valid[i]);
    json.number("tready", run.ready[i]);
    json.close('}');
  }
  json.close(']');
  json.open("levels", '{');
  for (unsigned i = 0; i < kLevelCount + kReplayCount; ++i) json.number(kLevelName[i], run.levels[i]);
  json.close('}');
  json.open("faults", '[');
  for (const Fault& f : faults.list()) {
    json.open(nullptr, '{');
    json.text("kind", f.kind);
    json.text("stream", f.stream < kStreamCount ? kStreams[f.stream].name : kFlagName[f.stream - kStreamCount]);
    json.number("cycle", f.cycle);
    json.number("frame", f.frame);
    json.number("pass", f.pass);
    json.number("beat", f.beat);
    json.numbers("got", f.got);
    json.close('}');
  }
  json.close(']');
  json.close('}');
  const bool ok = std::fputc('\n', out) != EOF && std::ferror(out) == 0;
  if (std::fclose(out) != 0 || !ok || std::rename(partial.c_str(), path.c_str()) != 0) {
    std::remove(partial.c_str());
    throw std::runtime_error(path + ": can't be written (disk full?)");
  }
}

}  // namespace hwq
