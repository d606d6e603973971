// The arena's constructor for JavaScript: createArena(messageSlots, bulkSlots, receiveAreas,
// shares) gives { buffer, handle, fd, hugePages }.
#pragma once

#include <napi.h>

namespace sealfs {

Napi::Value create_arena(const Napi::CallbackInfo& info);

}  // namespace sealfs
