// Goal and method: libfuse_log.h.
#include "native/fuse/libfuse_log.h"

#include <fuse3/fuse_log.h>

#include <cstdarg>
#include <cstdio>
#include <string_view>

namespace sealfs::fuse {

namespace {
thread_local LogCapture* open_capture = nullptr;
}  // namespace

struct LogFunction {
  static void log(fuse_log_level, const char* format, va_list arguments) {
    if (open_capture == nullptr) return;
    char line[1024];
    vsnprintf(line, sizeof line, format, arguments);
    LogCapture::append(line);
  }
};

LogCapture::LogCapture() {
  fuse_set_log_func(LogFunction::log);
  open_capture = this;
}

LogCapture::~LogCapture() { open_capture = nullptr; }

void LogCapture::append(const char* line) {
  std::string_view text(line);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (text.starts_with("fuse: ")) text.remove_prefix(6);
  if (text.empty()) return;
  std::string& all = open_capture->text_;
  if (!all.empty()) all += "; ";
  all += text;
}

}  // namespace sealfs::fuse
