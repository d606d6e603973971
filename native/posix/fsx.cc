// sealfs_fsx DIRECTORY [--other DIRECTORY] [--seed N] [--operations N] [--seconds N] [--largest
// BYTES]
//
// Random I/O on DIRECTORY/a and DIRECTORY/b (fsx.h). Prints "seed N: M operations" and exits 0, or
// says what differed, after which operations, under which seed, and exits 1. Without --seed one is
// drawn.
#include "native/posix/fsx.h"

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace sealfs::posix {

uint64_t Dice::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void Dice::fill(std::vector<uint8_t>& bytes) {
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = next();
    std::memcpy(bytes.data() + i, &word, bytes.size() - i < 8 ? bytes.size() - i : 8);
  }
}

void History::note(const char* format, ...) {
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  kept_[operations_++ % kKept] = prefix_ + text;
}

void History::fail(const char* format, ...) const {
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\nseed %llu, operation %llu; the last operations:\n",
               static_cast<unsigned long long>(seed_),
               static_cast<unsigned long long>(operations_));
  for (uint64_t i = operations_ > kKept ? operations_ - kKept : 0; i < operations_; i++) {
    std::fprintf(stderr, "%6llu %s\n", static_cast<unsigned long long>(i + 1),
                 kept_[i % kKept].c_str());
  }
  std::exit(1);
}

void History::fail_call(const char* call, const std::string& path) const {
  fail("%s of %s: %s", call, path.c_str(), std::strerror(errno));
}

namespace {

constexpr uint64_t kCheckEvery = 50;

const Operation& choose(Dice& dice) {
  unsigned total = 0;
  for (const Operation& operation : operations()) total += operation.weight;
  uint64_t at = dice.below(total);
  for (const Operation& operation : operations()) {
    if (at < operation.weight) return operation;
    at -= operation.weight;
  }
  return operations().front();
}

void run(const Settings& settings) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Dice dice(settings.seed);
  History history(settings.seed);
  File a("a", settings, history);
  File b("b", settings, history);
  Scene scene{dice, history, {&a, &b}};
  for (uint64_t i = 1; i <= settings.operations; i++) {
    const bool first = dice.one_in(2);
    if (settings.shared) {
      const size_t side = dice.below(2);
      history.prefix(side == 0 ? "here: " : "there: ");
      a.choose(side);
      b.choose(side);
    }
    choose(dice).run(scene, first ? a : b, first ? b : a);
    if (i % kCheckEvery == 0 || i == settings.operations) {
      a.check_all();
      b.check_all();
    }
    const std::chrono::duration<double> spent = Clock::now() - start;
    if (settings.seconds > 0 && spent.count() > settings.seconds) break;
  }
  a.check_all();
  b.check_all();
  std::printf("seed %llu: %llu operations\n", static_cast<unsigned long long>(settings.seed),
              static_cast<unsigned long long>(history.operations()));
}

[[noreturn]] void refuse_usage(const std::string& what) {
  std::fprintf(stderr,
               "sealfs_fsx: %s; sealfs_fsx DIRECTORY [--other DIRECTORY | --shared DIRECTORY] "
               "[--seed N] [--operations N] [--seconds N] [--largest BYTES]\n",
               what.c_str());
  std::exit(2);
}

double number_of(const std::string& name, const char* text) {
  char* end = nullptr;
  const double value = text == nullptr ? 0 : std::strtod(text, &end);
  if (end == nullptr || end == text || *end != 0 || value < 0)
    refuse_usage(name + " needs a number");
  return value;
}

Settings parse(int count, char** words) {
  Settings settings;
  settings.seed = std::random_device()();
  for (int i = 1; i < count; i++) {
    const std::string word = words[i];
    if (word[0] != '-') {
      settings.directory = word;
      continue;
    }
    const char* value = ++i < count ? words[i] : nullptr;
    if ((word == "--other" || word == "--shared") && value != nullptr) {
      settings.other = value;
      settings.shared = word == "--shared";
    } else if (word == "--seed") {
      settings.seed = static_cast<uint64_t>(number_of(word, value));
    } else if (word == "--operations") {
      settings.operations = static_cast<uint64_t>(number_of(word, value));
    } else if (word == "--seconds") {
      settings.seconds = number_of(word, value);
    } else if (word == "--largest") {
      settings.largest = static_cast<size_t>(number_of(word, value));
    } else {
      refuse_usage("no option " + word);
    }
  }
  if (settings.directory.empty()) refuse_usage("no directory");
  if (settings.largest < kPage) refuse_usage("--largest is at least one page");
  return settings;
}

}  // namespace
}  // namespace sealfs::posix

int main(int count, char** words) { sealfs::posix::run(sealfs::posix::parse(count, words)); }
