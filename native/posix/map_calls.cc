// Mappings of files, of this process and of another.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

Mapping& mapping_of(Context& context, const Words& words) {
  const auto found = context.mappings.find(words[1]);
  if (found == context.mappings.end()) refuse("no mapping is called " + words[1]);
  return found->second;
}

// map NAME FD OFFSET LENGTH [PROT [FLAGS]]: shared, to read and write, unless said otherwise
std::string call_map(Context& context, const Words& words) {
  const size_t bytes = static_cast<size_t>(number(words, 4));
  const int protection =
      words.size() > 5 ? static_cast<int>(flags(words, 5)) : PROT_READ | PROT_WRITE;
  const int how = words.size() > 6 ? static_cast<int>(flags(words, 6)) : MAP_SHARED;
  void* at = mmap(nullptr, bytes, protection, how, descriptor(context, words[2]), number(words, 3));
  if (at == MAP_FAILED) return outcome(-1);
  context.mappings[words[1]] = {static_cast<char*>(at), bytes};
  return "0";
}

// store NAME OFFSET TEXT
std::string call_store(Context& context, const Words& words) {
  words[3].copy(mapping_of(context, words).at + number(words, 2), words[3].size());
  return "0";
}

// load NAME OFFSET LENGTH
std::string call_load(Context& context, const Words& words) {
  const char* at = mapping_of(context, words).at + number(words, 2);
  return quoted({at, static_cast<size_t>(number(words, 3))});
}

// msync NAME FLAGS
std::string call_msync(Context& context, const Words& words) {
  const Mapping& mapping = mapping_of(context, words);
  return outcome(msync(mapping.at, mapping.bytes, static_cast<int>(flags(words, 2))));
}

// unmap NAME
std::string call_unmap(Context& context, const Words& words) {
  const Mapping mapping = mapping_of(context, words);
  context.mappings.erase(words[1]);
  return outcome(munmap(mapping.at, mapping.bytes));
}

// mapstore PATH OFFSET TEXT: opens, maps, stores, unmaps; nothing is synchronised
std::string call_mapstore(Context&, const Words& words) {
  const int fd = open(words[1].c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return outcome(fd);
  const size_t offset = static_cast<size_t>(number(words, 2));
  const size_t bytes = offset + words[3].size();
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return outcome(-1);
  words[3].copy(static_cast<char*>(at) + offset, words[3].size());
  return outcome(munmap(at, bytes));
}

// mapload PATH OFFSET LENGTH
std::string call_mapload(Context&, const Words& words) {
  const int fd = open(words[1].c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return outcome(fd);
  const size_t offset = static_cast<size_t>(number(words, 2));
  const size_t length = static_cast<size_t>(number(words, 3));
  void* at = mmap(nullptr, offset + length, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return outcome(-1);
  const std::string text = quoted({static_cast<char*>(at) + offset, length});
  munmap(at, offset + length);
  return text;
}

}  // namespace

Table map_calls() {
  return {
      {"map", 5, call_map},         {"store", 4, call_store}, {"load", 4, call_load},
      {"msync", 3, call_msync},     {"unmap", 2, call_unmap}, {"mapstore", 4, call_mapstore},
      {"mapload", 4, call_mapload},
  };
}

}  // namespace sealfs::posix
