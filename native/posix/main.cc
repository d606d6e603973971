// Reads a script from standard input and runs it in the current directory (script.h). An answer is
// flushed line by line, so that a call that hangs is known. Needs root for `as` lines of others.
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// "UID:GID[:GROUP,GROUP…]" as this process's effective identity.
void become(const std::string& who) {
  char* at = nullptr;
  const uid_t uid = static_cast<uid_t>(std::strtoul(who.c_str(), &at, 10));
  if (*at != ':') refuse("as needs UID:GID, not " + who);
  const gid_t gid = static_cast<gid_t>(std::strtoul(at + 1, &at, 10));
  std::vector<gid_t> groups;
  while (*at == ':' || *at == ',') {
    groups.push_back(static_cast<gid_t>(std::strtoul(at + 1, &at, 10)));
  }
  // Not with -1 as the real id: access(2) asks for that one.
  if (setgroups(groups.size(), groups.data()) != 0 || setresgid(gid, gid, 0) != 0 ||
      setresuid(uid, uid, 0) != 0) {
    refuse("cannot become " + who + ": run as root");
  }
}

void become_root() {
  if (setresuid(0, 0, 0) != 0 || setresgid(0, 0, 0) != 0 || setgroups(0, nullptr) != 0) {
    refuse("cannot become root again");
  }
}

class Runner {
 public:
  void add(const Table& table) {
    for (const Entry& entry : table) entries_[entry.name] = entry;
  }

  std::string run(Words words) {
    const bool as_other = words[0] == "as";
    std::string who;
    if (as_other) {
      if (words.size() < 3) refuse("as needs an identity and a call");
      who = words[1];
      words.erase(words.begin(), words.begin() + 2);
    }
    std::string variable;
    if (words[0].size() > 1 && words[0].back() == '=') {
      variable = words[0].substr(0, words[0].size() - 1);
      words.erase(words.begin());
    }
    const auto found = words.empty() ? entries_.end() : entries_.find(words[0]);
    if (found == entries_.end()) refuse("no call: " + (words.empty() ? "" : words[0]));
    if (words.size() < found->second.words_min) refuse(words[0] + ": too few words");
    if (as_other) become(who);
    const std::string answer = found->second.call(context_, words);
    if (as_other) become_root();
    if (variable.empty() || answer[0] < '0' || answer[0] > '9') return answer;
    context_.descriptors[variable] = static_cast<int>(std::strtol(answer.c_str(), nullptr, 10));
    return "ok";  // descriptor numbers are nobody's business
  }

 private:
  std::map<std::string, Entry> entries_;
  Context context_;
};

int run_script() {
  Runner runner;
  runner.add(file_calls());
  runner.add(name_calls());
  runner.add(attribute_calls());
  runner.add(space_calls());
  runner.add(xattr_calls());
  umask(022);
  std::string line;
  while (std::getline(std::cin, line)) {
    Words words;
    if (!split(line, &words)) refuse("not closed: " + line);
    if (words.empty()) continue;
    std::printf("%s\n", runner.run(std::move(words)).c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace sealfs::posix

int main() { return sealfs::posix::run_script(); }
