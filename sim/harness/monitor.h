// monitor.h: compares every beat of one stream with its expectation, and keeps the handshake law.
//
// A stream carries `beats` beats a frame, each sequence of `group` sent `repeat` times; beat b of frame f is expected
// to equal the words at (f * beats + b) * words of its file. The comparison runs in every cycle with TVALID, not only when the beat
// moves: the expectation stands still until then, so it also catches data that changes during a stall.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "signal.h"

namespace hwq {

/// One row of the table in streams.h.
struct StreamRow {
  const char* name;
  unsigned words, lanes, bits, beats, repeat, group;
};

inline constexpr std::size_t kTimedFrames = 4;

/// Something that must not happen. kind: value | dropped | unstable | extra | tlast | edge.
struct Fault {
  const char* kind;
  unsigned stream;
  std::uint64_t cycle;
  unsigned frame, pass, beat;
  std::vector<Word> got;
};

/// Collects faults; the first `keep` are kept with their data, all are counted.
class Faults {
 public:
  explicit Faults(std::uint64_t keep) : keep_(keep) {}
  void add(Fault fault) {
    if (list_.size() < keep_) list_.push_back(std::move(fault));
    ++count_;
  }
  void add_values(std::uint64_t lanes) { values_ += lanes; }
  std::uint64_t count() const { return count_; }
  std::uint64_t values() const { return values_; }
  const std::vector<Fault>& list() const { return list_; }

 private:
  std::uint64_t keep_;
  std::uint64_t count_ = 0;   // faulty beats
  std::uint64_t values_ = 0;  // differing lanes in them
  std::vector<Fault> list_;
};

class Monitor {
 public:
  /// data: frames [first, last) are expected; data points at frame 0 of the file.
  void start(unsigned index, const StreamRow& row, const Word* data, unsigned first, unsigned last, Faults& faults) {
    row_ = &row;
    index_ = index;
    faults_ = &faults;
    frame_ = first_ = first;
    last_ = last;
    expect_ = first < last ? data + static_cast<std::size_t>(first) * row.beats * row.words : nullptr;
  }

  /// One cycle before the clock edge. Returns true if a beat moves.
  template <unsigned W, class T>
  bool watch(bool valid, bool ready, const T& data, std::uint64_t cycle) {
    if (!valid) {
      if (__builtin_expect(waiting_, 0)) report<W>("dropped", data, cycle);
      waiting_ = false;
      starved_ += ready;
      return false;
    }
    if (__builtin_expect(expect_ == nullptr, 0)) {
      if (!waiting_) report<W>("extra", data, cycle);
    } else if (__builtin_expect(differs<W>(data, expect_), 0)) {
      if (!waiting_ || !bad_) report<W>(waiting_ ? "unstable" : "value", data, cycle);
      bad_ = true;
    }
    waiting_ = !ready;
    if (!ready) {
      ++stalled_;
      return false;
    }
    bad_ = false;
    ++moved_;
    if (expect_ != nullptr) advance(W, cycle);
    return true;
  }

  bool done() const { return expect_ == nullptr; }
  const Word* expect() const { return expect_; }
  bool first_beat() const { return beat_ == 0 && pass_ == 0; }
  unsigned frame() const { return frame_; }
  unsigned pass() const { return pass_; }
  unsigned beat() const { return beat_; }
  bool last_beat() const { return beat_ + 1 == row_->beats && pass_ + 1 == row_->repeat; }
  /// Cycle of the last beat of each of the first frames: compared with the token model by the caller.
  const std::vector<std::uint64_t>& ends() const { return ends_; }
  /// Beats whose last repetition has moved: what a replay buffer has given up.
  std::uint64_t released() const {
    return static_cast<std::uint64_t>(frame_ - first_) * row_->beats + (pass_ + 1 == row_->repeat ? beat_ : beat_ - place_);
  }
  std::uint64_t moved() const { return moved_; }
  std::uint64_t stalled() const { return stalled_; }
  std::uint64_t starved() const { return starved_; }

 private:
  void advance(unsigned words, std::uint64_t cycle) {
    expect_ += words;
    ++beat_;
    if (++place_ < row_->group) return;
    place_ = 0;
    if (++pass_ < row_->repeat) {
      beat_ -= row_->group;
      expect_ -= static_cast<std::size_t>(row_->group) * words;
      return;
    }
    pass_ = 0;
    if (beat_ < row_->beats) return;
    beat_ = 0;
    if (ends_.size() < kTimedFrames) ends_.push_back(cycle);
    if (++frame_ == last_) expect_ = nullptr;
  }

  template <unsigned W, class T>
  __attribute__((noinline, cold)) void report(const char* kind, const T& data, std::uint64_t cycle) {
    std::vector<Word> got(W);
    fetch<W>(data, got.data());
    if (expect_ != nullptr) faults_->add_values(differing_lanes(got.data()));
    faults_->add({kind, index_, cycle, frame_, pass_, beat_, std::move(got)});
  }

  std::uint64_t differing_lanes(const Word* got) const {
    std::uint64_t count = 0;
    for (unsigned lane = 0; lane < row_->lanes; ++lane) {
      bool same = true;
      for (unsigned bit = lane * row_->bits; bit < (lane + 1) * row_->bits; ++bit)
        same &= (((got[bit / 32] ^ expect_[bit / 32]) >> (bit % 32)) & 1) == 0;
      count += !same;
    }
    return count;
  }

  const Word* expect_ = nullptr;  // the beat expected next; null when every frame has passed
  bool waiting_ = false;          // TVALID was high in the last cycle and the beat did not move
  bool bad_ = false;              // the waiting beat was reported already
  unsigned beat_ = 0, place_ = 0, pass_ = 0, frame_ = 0, first_ = 0, last_ = 0;
  std::uint64_t moved_ = 0, stalled_ = 0, starved_ = 0;
  std::vector<std::uint64_t> ends_;
  const StreamRow* row_ = nullptr;
  Faults* faults_ = nullptr;
  unsigned index_ = 0;
};

}  // namespace hwq
