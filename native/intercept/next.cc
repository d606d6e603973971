// Goal and method: next.h.
#include "native/intercept/next.h"

#include <stdlib.h>

namespace sealfs::intercept {

void* NextBase::find() {
  void* found = dlsym(RTLD_NEXT, name_);
  // Nothing can be done without it, and nothing can be said: the program may have closed stderr.
  if (found == nullptr) abort();
  found_.store(found, std::memory_order_relaxed);
  return found;
}

}  // namespace sealfs::intercept
