// signal.h: the signals of a Verilated model as little-endian 32-bit words, whatever C++ type Verilator gave them.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace hwq {

using Word = std::uint32_t;

/// True if `got` differs from the W words at `want`. T is CData .. QData (W <= 2) or VlWide<W>.
template <unsigned W, class T>
inline bool differs(const T& got, const Word* want) {
  if constexpr (std::is_integral_v<T>) {
    static_assert(W <= 2, "a scalar signal has at most 64 bits");
    std::uint64_t expected = want[0];
    if constexpr (W == 2) expected |= static_cast<std::uint64_t>(want[1]) << 32;
    return static_cast<std::uint64_t>(got) != expected;
  } else if constexpr (W <= 8) {
    Word diff = 0;
    for (unsigned i = 0; i < W; ++i) diff |= got[i] ^ want[i];
    return diff != 0;
  } else {
    return std::memcmp(got.data(), want, W * sizeof(Word)) != 0;
  }
}

/// Copy a signal out to W words.
template <unsigned W, class T>
inline void fetch(const T& signal, Word* words) {
  if constexpr (std::is_integral_v<T>) {
    words[0] = static_cast<Word>(signal);
    if constexpr (W == 2) words[1] = static_cast<Word>(static_cast<std::uint64_t>(signal) >> 32);
  } else {
    for (unsigned i = 0; i < W; ++i) words[i] = signal[i];
  }
}

/// Drive a signal from W words.
template <unsigned W, class T>
inline void put(T& signal, const Word* words) {
  if constexpr (std::is_integral_v<T>) {
    std::uint64_t value = words[0];
    if constexpr (W == 2) value |= static_cast<std::uint64_t>(words[1]) << 32;
    signal = static_cast<T>(value);
  } else {
    for (unsigned i = 0; i < W; ++i) signal[i] = words[i];
  }
}

}  // namespace hwq
