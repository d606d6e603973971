// Goal: what libfuse says when it fails, as text for an error, instead of lines on stderr. Method:
// libfuse has one log function a process; ours appends to the capture that is open on its thread.
#pragma once

#include <string>

namespace sealfs::fuse {

class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // What was logged since, lines joined by "; ", without libfuse's own prefix.
  const std::string& text() const { return text_; }

 private:
  static void append(const char* line);
  friend struct LogFunction;
  std::string text_;
};

}  // namespace sealfs::fuse
