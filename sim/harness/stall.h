// stall.h: when a source offers and when a sink takes, as a reproducible random pattern of runs.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace hwq {

/// xorshift64*: a few instructions a number, the same sequence for the same seed everywhere.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(mix(seed * 0x9E3779B97F4A7C15u + stream + 1)) {}

  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) | 1;  // the state must never be zero
  }
  std::uint64_t state_;
};

/// Opens and closes in runs: 1..16 cycles open, 1..8 closed, and one pause in 64 of up to 512 cycles, long enough
/// to fill or drain the FIFOs behind it. Always open if `stalls` is false.
class Gate {
 public:
  Gate(bool stalls, std::uint64_t seed, std::uint64_t stream) : random_(seed, stream), stalls_(stalls) {}

  bool open() {
    if (!stalls_) return true;
    if (left_ == 0) {
      open_ = !open_;
      const std::uint64_t r = random_.next() >> 32;
      const bool pause = !open_ && (r & 63) == 0;
      left_ = 1 + static_cast<unsigned>((r >> 6) & (pause ? 511 : open_ ? 15 : 7));
    }
    --left_;
    return open_;
  }

 private:
  Random random_;
  bool stalls_;
  bool open_ = false;
  unsigned left_ = 0;
};

struct Regime {
  bool source = false;
  bool sink = false;

  static Regime parse(const std::string& name) {
    if (name == "none") return {false, false};
    if (name == "source") return {true, false};
    if (name == "sink") return {false, true};
    if (name == "random") return {true, true};
    throw std::runtime_error("unknown stall regime '" + name + "'; known: none, source, sink, random");
  }
};

}  // namespace hwq
