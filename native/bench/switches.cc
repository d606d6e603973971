// What two context switches cost here: two processes on one processor pass a byte to and fro
// through pipes, so that each handing over is one. Prints the mean time to and fro in microseconds:
// two switches, with the four small calls that they take.
//
// usage: sealfs_switches ROUNDS
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void stay_here() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) die("sched_setaffinity");
}

}  // namespace

int main(int argc, char** argv) {
  const size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 20000;
  if (rounds == 0) {
    std::fprintf(stderr, "usage: sealfs_switches ROUNDS\n");
    return 2;
  }
  int there[2];
  int back[2];
  if (pipe(there) != 0 || pipe(back) != 0) die("pipe");
  stay_here();
  char byte = 'x';
  const pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
    }
    _exit(0);
  }
  const auto exchange = [&](size_t count) {
    for (size_t i = 0; i < count; i++) {
      if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) die("peer");
    }
  };
  exchange(rounds / 10 + 1);
  const auto began = std::chrono::steady_clock::now();
  exchange(rounds);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  std::printf("%.3f\n", took.count() / static_cast<double>(rounds));
  close(there[1]);
  waitpid(child, nullptr, 0);
  return 0;
}
