// inotify: what the kernel tells of changes that are made on this host.
#include <sys/inotify.h>
#include <unistd.h>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

struct Event {
  const char* name;
  uint32_t bit;
};

constexpr Event kEvents[] = {
    {"ACCESS", IN_ACCESS},
    {"MODIFY", IN_MODIFY},
    {"ATTRIB", IN_ATTRIB},
    {"CLOSE_WRITE", IN_CLOSE_WRITE},
    {"CLOSE_NOWRITE", IN_CLOSE_NOWRITE},
    {"OPEN", IN_OPEN},
    {"MOVED_FROM", IN_MOVED_FROM},
    {"MOVED_TO", IN_MOVED_TO},
    {"CREATE", IN_CREATE},
    {"DELETE", IN_DELETE},
    {"DELETE_SELF", IN_DELETE_SELF},
    {"MOVE_SELF", IN_MOVE_SELF},
    {"IGNORED", IN_IGNORED},
    {"ISDIR", IN_ISDIR},
};

// watch WATCHER PATH: everything that happens to it
std::string call_watch(Context& context, const Words& words) {
  Watcher& watcher = context.watchers[words[1]];
  if (watcher.fd < 0) watcher.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  const int watch = inotify_add_watch(watcher.fd, words[2].c_str(), IN_ALL_EVENTS);
  if (watch < 0) return outcome(watch);
  watcher.watched[watch] = words[2];
  return "0";
}

// events WATCHER: those since the last time, in their order
std::string call_events(Context& context, const Words& words) {
  Watcher& watcher = context.watchers[words[1]];
  alignas(inotify_event) char buffer[65536];
  const ssize_t bytes = read(watcher.fd, buffer, sizeof buffer);
  Words all;
  for (ssize_t at = 0; at < bytes;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
    std::string text = watcher.watched[event->wd];
    for (const Event& known : kEvents) {
      if (event->mask & known.bit) text.append(" ").append(known.name);
    }
    if (event->len > 0) text.append(" ").append(event->name);
    all.push_back(text + ";");
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  return joined(all);
}

}  // namespace

Table watch_calls() { return {{"watch", 3, call_watch}, {"events", 2, call_events}}; }

}  // namespace sealfs::posix
