// Random I/O in the manner of fsx: every way that Linux has of reading and changing a file's bytes,
// in random order on two files, against a copy of each in memory (the model). Goal: whatever the
// order, a file holds what was written last. Method: one thread; an operation makes its system
// calls, then changes the model alike; whatever is read is compared at once.
//
// Read fsx.cc for the order of things, fsx_file.cc for what is compared, fsx_operations.cc for the
// operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sealfs::posix {

struct Settings {
  std::string directory;
  // The same directory seen through another mount: whole contents are compared there too.
  std::string other;
  // Operations go through both mounts in turn, at random. Without mappings: what one mount's kernel
  // has of a mapping the other does not see.
  bool shared = false;
  uint64_t seed = 0;
  uint64_t operations = 1000;  // ends after so many, or
  double seconds = 0;          // after this time if that is sooner; 0: no limit
  size_t largest = 5 << 20;    // bytes that a file may grow to
};

// splitmix64: the whole run follows from one number.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t next();
  // From 0 to bound - 1; bound > 0.
  uint64_t below(uint64_t bound) { return next() % bound; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  void fill(std::vector<uint8_t>& bytes);

 private:
  uint64_t state_;
};

// What was done last; told when something differs.
class History {
 public:
  explicit History(uint64_t seed) : seed_(seed) {}
  [[gnu::format(printf, 2, 3)]] void note(const char* format, ...);
  // What stands before each following note.
  void prefix(const char* prefix) { prefix_ = prefix; }
  uint64_t operations() const { return operations_; }
  // Prints the reason, the seed and the last operations, and ends the program with status 1.
  [[noreturn, gnu::format(printf, 2, 3)]] void fail(const char* format, ...) const;
  // The same for a system call that should have worked, with errno.
  [[noreturn]] void fail_call(const char* call, const std::string& path) const;

 private:
  static constexpr size_t kKept = 60;
  uint64_t seed_;
  uint64_t operations_ = 0;
  std::string prefix_;
  std::string kept_[kKept];
};

// A file under test, its descriptors, a mapping that stays from open to close, and its model.
class File {
 public:
  File(std::string name, const Settings& settings, History& history);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& name() const { return name_; }
  const std::string& path() const { return chosen_ == 0 ? path_ : other_; }
  size_t size() const { return model_.size(); }
  // How far the file may grow now: changed when it is cut to nothing, so that small files, which
  // are stored in another way, are tried as often as large ones.
  size_t limit = 0;
  size_t largest() const { return largest_; }
  // Descriptors of the mount that is chosen now.
  int plain() const { return sides_[chosen_].plain; }
  int direct() const { return sides_[chosen_].direct; }
  int appending() const { return sides_[chosen_].appending; }
  // Bytes below page_end(size()) may be touched. Null in a shared run.
  uint8_t* mapping() const { return mapping_; }

  void reopen();
  // 0, or in a shared run 1: the other mount.
  void choose(size_t side) { chosen_ = side; }

  // The model's changes.
  void put(size_t offset, const uint8_t* bytes, size_t length);
  void zero(size_t offset, size_t length);  // inside the file; what is beyond its end is left out
  void resize(size_t size) { model_.resize(size, 0); }
  const uint8_t* model(size_t offset) const { return model_.data() + offset; }

  // Fails unless what was read at offset is what the model has there. asked: what was asked for.
  void expect(const char* how, size_t offset, size_t asked, const uint8_t* bytes, size_t got) const;
  void check_size() const;
  void check_mapping(size_t offset, size_t length) const;
  // SEEK_DATA and SEEK_HOLE: what is called a hole has nothing but zeros.
  void check_holes() const;
  void check_all() const;
  // Through another path or descriptor of the same file.
  void check_through(const std::string& path) const;

 private:
  struct Descriptors {
    int plain = -1;
    int direct = -1;
    int appending = -1;
  };

  void open_all();
  void close_all();
  int open_one(int flags) const;
  void flush_mapping() const;

  std::string name_;
  std::string path_;
  std::string other_;
  size_t largest_;
  size_t mapped_;
  History& history_;
  std::vector<uint8_t> model_;
  size_t side_count_;
  size_t chosen_ = 0;
  Descriptors sides_[2];
  uint8_t* mapping_ = nullptr;
};

constexpr size_t kPage = 4096;
constexpr size_t page_start(size_t offset) { return offset / kPage * kPage; }
constexpr size_t page_end(size_t offset) { return page_start(offset + kPage - 1); }

struct Scene {
  Dice& dice;
  History& history;
  File* files[2];
};

struct Operation {
  const char* name;
  unsigned weight;  // how often, in relation to the others
  void (*run)(Scene& scene, File& file, File& other);
};

const std::vector<Operation>& operations();

}  // namespace sealfs::posix
