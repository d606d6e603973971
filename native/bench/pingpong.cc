// The physical limit that `sealfs bench rpc` compares with: two processes exchange messages of a
// fixed size over a loopback TCP connection, each polling its non-blocking socket. Prints the mean
// round trip in microseconds.
//
// usage: sealfs_pingpong BYTES ROUNDS
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

// Reads exactly `size` bytes, polling; yields between polls so that the peer runs where cores are
// few.
bool receive(int fd, char* data, size_t size) {
  size_t have = 0;
  while (have < size) {
    ssize_t n = recv(fd, data + have, size - have, 0);
    if (n == 0) return false;
    if (n > 0) {
      have += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      sched_yield();
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool transmit(int fd, const char* data, size_t size) {
  size_t sent = 0;
  while (sent < size) {
    ssize_t n = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    }
  }
  return true;
}

void prepare(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) die("O_NONBLOCK");
}

}  // namespace

int main(int argc, char** argv) {
  size_t bytes = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 128;
  size_t rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20000;
  if (bytes == 0 || rounds == 0) {
    std::fprintf(stderr, "usage: sealfs_pingpong BYTES ROUNDS\n");
    return 2;
  }
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, length) != 0 || listen(listener, 1) != 0) die("listen");
  if (getsockname(listener, generic, &length) != 0) die("getsockname");

  std::vector<char> buffer(bytes, 'x');
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, generic, length) != 0) die("connect");
    prepare(fd);
    while (receive(fd, buffer.data(), bytes) && transmit(fd, buffer.data(), bytes)) {
    }
    _exit(0);
  }
  int fd = accept(listener, nullptr, nullptr);
  if (fd < 0) die("accept");
  prepare(fd);
  auto exchange = [&](size_t count) {
    for (size_t i = 0; i < count; i++) {
      if (!transmit(fd, buffer.data(), bytes) || !receive(fd, buffer.data(), bytes)) die("peer");
    }
  };
  exchange(rounds / 10 + 1);
  auto began = std::chrono::steady_clock::now();
  exchange(rounds);
  std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  std::printf("%.3f\n", took.count() / static_cast<double>(rounds));
  close(fd);
  waitpid(child, nullptr, 0);
  return 0;
}
