// Goal: numeric addresses, as engines take them. No name is looked up here, that would block; names
// are resolved in src/transport/engine-transport.ts.
#pragma once

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace sealfs::engine {

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  int family() const { return storage.ss_family; }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  // Host byte order. The port lies at the same place in both families' addresses.
  uint16_t port() const { return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port); }
};

// IPv4 or IPv6, with a scope if it needs one. False: `text` is no numeric address.
inline bool parse_address(const std::string& text, uint16_t port, Address* out) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(text.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
  out->bytes = found->ai_addrlen;
  freeaddrinfo(found);
  return true;
}

}  // namespace sealfs::engine
