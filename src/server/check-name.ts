/** Names as they arrive: whether the bytes of a request are one. */
import { errno } from '../common/errno.js';
import { nameBytesMax } from '../protocol/limits.generated.js';
import type { Call } from './namespace.js';

/** 0, or why these bytes of the body are not a name. */
export function checkNameBytes(call: Call, at: number, length: number): number {
  if (at + length > call.bodyBytes) return errno.EINVAL;
  if (length === 0) return errno.ENOENT;
  if (length > nameBytesMax) return errno.ENAMETOOLONG;
  const { bytes } = call.memory;
  const from = call.body + at;
  for (let i = 0; i < length; i++) {
    const byte = bytes[from + i]!;
    if (byte === 0 || byte === 0x2f) return errno.EINVAL;
  }
  if (bytes[from] === 0x2e) {
    if (length === 1 || (length === 2 && bytes[from + 1] === 0x2e)) return errno.EINVAL;
  }
  return 0;
}
