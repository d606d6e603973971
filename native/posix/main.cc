// Reads a script from standard input and runs it in the current directory (script.h). An answer is
// flushed line by line, so that a call that hangs is known. Needs root for `as` lines of others.
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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
    const std::string prefix = words[0];
    if (prefix == "as" || prefix == "hold") {
      if (words.size() < 3) refuse(prefix + " needs a name and a call");
      const std::string name = words[1];
      words.erase(words.begin(), words.begin() + 2);
      return prefix == "as" ? run_as(name, words) : run_apart(words, &name);
    }
    if (prefix == "try" || prefix == "child") {
      if (words.size() < 2) refuse(prefix + " needs a call");
      words.erase(words.begin());
      return prefix == "try" ? run_mended(words) : run_apart(words, nullptr);
    }
    return call(std::move(words));
  }

 private:
  std::string call(Words words) {
    std::string variable;
    if (words[0].size() > 1 && words[0].back() == '=') {
      variable = words[0].substr(0, words[0].size() - 1);
      words.erase(words.begin());
    }
    if (words.empty()) refuse("no call behind " + variable);
    if (words[0] == "release") return release(word(words, 1));
    const auto found = entries_.find(words[0]);
    if (found == entries_.end()) refuse("no call: " + words[0]);
    if (words.size() < found->second.words_min) refuse(words[0] + ": too few words");
    const std::string answer = found->second.call(context_, words);
    if (variable.empty() || answer[0] < '0' || answer[0] > '9') return answer;
    context_.descriptors[variable] = static_cast<int>(std::strtol(answer.c_str(), nullptr, 10));
    return "ok";  // descriptor numbers are nobody's business
  }

  std::string run_as(const std::string& who, const Words& words) {
    become(who);
    const std::string answer = run(words);
    become_root();
    return answer;
  }

  std::string run_mended(const Words& words) {
    const std::string answer = run(words);
    // A call that fails changes nothing: `fixture` at the end of a script sees to that.
    if (answer[0] >= 'A' && answer[0] <= 'Z') return answer;
    const std::string effect = mend_fixture(context_);
    return effect.empty() ? answer : answer + " " + effect;
  }

  // In another process, which ends behind the call, or with `name` lives on.
  std::string run_apart(const Words& words, const std::string* name) {
    int ends[2];
    if (pipe(ends) != 0) refuse("no pipe");
    const pid_t pid = fork();
    if (pid < 0) refuse("no process");
    if (pid == 0) {
      close(ends[0]);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string answer = run(words);
      if (write(ends[1], answer.data(), answer.size()) < 0) _exit(1);
      close(ends[1]);
      while (name != nullptr) pause();
      _exit(0);
    }
    close(ends[1]);
    std::string answer;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;) answer.append(buffer, n);
    close(ends[0]);
    if (name != nullptr) {
      context_.holders[*name] = pid;
      return answer;
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) return std::string("signal ") + sigabbrev_np(WTERMSIG(status));
    return answer;
  }

  // release NAME: ends what was started with hold
  std::string release(const std::string& name) {
    const auto found = context_.holders.find(name);
    if (found == context_.holders.end()) refuse("nobody holds " + name);
    kill(found->second, SIGKILL);
    waitpid(found->second, nullptr, 0);
    context_.holders.erase(found);
    return "0";
  }

  std::map<std::string, Entry> entries_;
  Context context_;
};

int run_script() {
  // Beyond RLIMIT_FSIZE there is an errno too.
  signal(SIGXFSZ, SIG_IGN);
  Runner runner;
  for (const Table& table : {file_calls(), name_calls(), at_calls(), attribute_calls(),
                             directory_calls(), fixture_calls(), io_calls(), lock_calls(),
                             map_calls(), space_calls(), watch_calls(), xattr_calls()}) {
    runner.add(table);
  }
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
