// Goal: the same system calls on two file systems, compared line by line (test/posix). Method: a
// script of one call a line is read from standard input and run in the current directory; each
// line is answered with one line: a number, an errno's name, or what the call shows. Nothing in an
// answer depends on when or where it ran (inode numbers, present times), so answers can be
// compared.
//
//   line:   [as UID:GID[:GROUP,GROUP…]] [VARIABLE=] CALL ARGUMENT…      # comment
//   word:   anything without blanks, or "with blanks"; {x*255}: 255 times x; $VARIABLE: a
//   descriptor
//
// Calls are grouped by subject, one file each; a new file adds its table in main.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sealfs::posix {

// File times of one moment, to see later which of them a call has changed.
struct Snapshot {
  long long atime[2];
  long long mtime[2];
  long long ctime[2];
};

struct Context {
  std::map<std::string, int> descriptors;
  std::map<std::string, Snapshot> snapshots;
};

using Words = std::vector<std::string>;
// `words[0]` is the call's name. Returns the answer.
using Call = std::string (*)(Context& context, const Words& words);

struct Entry {
  const char* name;
  size_t words_min;  // with the name
  Call call;
};
using Table = std::vector<Entry>;

// Splits a line; false: a quotation mark or brace is not closed.
bool split(std::string_view line, Words* words);

// Word `index`, "" behind the end.
const std::string& word(const Words& words, size_t index);
// As strtoll reads it; octal with a leading 0.
long long number(const Words& words, size_t index);
long octal(const Words& words, size_t index);
// "$name" to its descriptor, a number to itself; -1: unknown.
int descriptor(const Context& context, const std::string& text);
// Names joined by '|', or a number; unknown names end the program.
long flags(const Words& words, size_t index);

// The errno's name when `result` is negative, else the number.
std::string outcome(long long result);
// The same for a call that has read bytes: their count and the bytes, long runs shortened.
std::string outcome_bytes(long long result, const char* bytes);
std::string quoted(std::string_view bytes);
// "[one two]"
std::string joined(const Words& words);

[[noreturn]] void refuse(const std::string& why);

Table file_calls();
Table name_calls();
Table attribute_calls();
Table space_calls();
Table xattr_calls();

}  // namespace sealfs::posix
