// plan.h: the command line of the harness and the files it names.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "signal.h"
#include "stall.h"

namespace hwq {

/// A file of 32-bit words, mapped read-only.
class WordFile {
 public:
  explicit WordFile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY);
    if (fd < 0) throw std::runtime_error(path + ": can't be read");
    struct stat st {};
    if (::fstat(fd, &st) != 0 || st.st_size == 0) throw std::runtime_error(path + ": empty");
    bytes_ = static_cast<std::size_t>(st.st_size);
    void* p = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (p == MAP_FAILED) throw std::runtime_error(path + ": can't be mapped");
    data_ = static_cast<const Word*>(p);
  }
  WordFile(const WordFile&) = delete;
  WordFile& operator=(const WordFile&) = delete;
  ~WordFile() { ::munmap(const_cast<Word*>(data_), bytes_); }

  const Word* data() const { return data_; }
  std::size_t words() const { return bytes_ / sizeof(Word); }

 private:
  const Word* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// `--key value` pairs; every key is required unless `get` is given a default.
class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
      const std::string key = argv[i];
      if (key.rfind("--", 0) != 0) throw std::runtime_error("expected --key value, got '" + key + "'");
      values_[key.substr(2)] = argv[i + 1];
    }
    if (argc % 2 == 0) throw std::runtime_error(std::string("option without a value: ") + argv[argc - 1]);
  }
  std::string get(const std::string& key) const {
    const auto it = values_.find(key);
    if (it == values_.end()) throw std::runtime_error("missing option --" + key);
    return it->second;
  }
  std::string get(const std::string& key, const std::string& otherwise) const {
    const auto it = values_.find(key);
    return it == values_.end() ? otherwise : it->second;
  }
  std::uint64_t number(const std::string& key) const { return std::stoull(get(key)); }
  std::uint64_t number(const std::string& key, std::uint64_t otherwise) const {
    return values_.count(key) ? std::stoull(values_.at(key)) : otherwise;
  }

 private:
  std::map<std::string, std::string> values_;
};

/// The plan file: one line `<stream name> <path>` per stream (streams of equal content share a file).
inline std::map<std::string, std::string> read_plan(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": can't be read");
  std::map<std::string, std::string> files;
  std::string name, file;
  while (in >> name && std::getline(in >> std::ws, file)) files[name] = file;
  return files;
}

}  // namespace hwq
