// Times of events under bounds: hwq.hw.solve, compiled. Beat k of event `to` is at least `delay` cycles after beat
// (k / period) * advance + table[k % period] of event `of`; see hwq/hw/schedule.py.
#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

struct Arc {
  int64_t to, of, advance, delay, period;
  const int64_t* table;
};

struct Pattern {  // kind 0: held by a source, 1: gate of a sink
  int64_t kind, event, length;
  const int64_t* next;
  int64_t from(int64_t cycle) const { return cycle < length ? next[cycle] : cycle; }
};

struct Incoming {  // an arc with its position: base + table[phase]
  const Arc* arc;
  int64_t phase = 0, base = 0;
};

struct Event {
  std::vector<Incoming> bounds;
  std::vector<const Pattern*> held;
  const Pattern* gate = nullptr;
};

}  // namespace

extern "C" void hwq_solve(int64_t events, int64_t arc_count, int64_t pattern_count, const int64_t* total,
                          const Arc* arcs, const Pattern* patterns, int64_t* const* t, int64_t* done) {
  std::vector<Event> event(static_cast<size_t>(events));
  for (int64_t i = 0; i < arc_count; i++) event[arcs[i].to].bounds.push_back({&arcs[i]});
  for (int64_t i = 0; i < pattern_count; i++) {
    Event& e = event[patterns[i].event];
    if (patterns[i].kind == 0) e.held.push_back(&patterns[i]);
    else e.gate = &patterns[i];
  }
  for (bool moved = true; moved;) {
    moved = false;
    for (int64_t s = 0; s < events; s++) {
      Event& e = event[s];
      int64_t k = done[s], last = k > 0 ? t[s][k - 1] : -1;
      for (; k < total[s]; k++) {
        int64_t cycle = last + 1;
        for (const Pattern* p : e.held) cycle = std::max(cycle, p->from(last + 1));
        bool known = true;
        for (const Incoming& in : e.bounds) {
          const int64_t i = in.base + in.arc->table[in.phase];
          if (i >= done[in.arc->of]) {
            known = false;
            break;
          }
          if (i >= 0) cycle = std::max(cycle, t[in.arc->of][i] + in.arc->delay);
        }
        if (!known) break;
        if (e.gate != nullptr) cycle = e.gate->from(cycle);
        last = t[s][k] = cycle;
        done[s] = k + 1;
        for (Incoming& in : e.bounds) {
          if (++in.phase == in.arc->period) {
            in.phase = 0;
            in.base += in.arc->advance;
          }
        }
        moved = true;
      }
    }
  }
}
