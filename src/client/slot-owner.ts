/** Which of an arena's two pools a slot belongs to, by its offset: message slots come first. */
import { ARENA_SLOTS_OFFSET } from '../native/arena-memory.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { messageSlotBytes } from '../protocol/limits.generated.js';

export function giveSlot(arena: ArenaMemory, offset: number): void {
  const firstBulk = ARENA_SLOTS_OFFSET + arena.messages.capacity * messageSlotBytes;
  if (offset < firstBulk) arena.messages.give(offset);
  else arena.bulk.give(offset);
}
