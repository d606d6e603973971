/**
 * What the store says of a session that may hold leases and locks: for how long it was absent after restarts, and
 * whether it may not know of the last changes. Nothing, or a u16: 15 bits of milliseconds, bit 15.
 */
import { RECALL_LIMIT_MS } from '../../protocol/leases.js';

const NOTHING = new Uint8Array(0);
const TO_BE_TOLD = 0x80;

if (RECALL_LIMIT_MS > 0x7fff) throw new Error('holder value: layout');

export function holderValue(absenceMs: number, isToBeTold: boolean): Uint8Array {
  if (absenceMs === 0 && !isToBeTold) return NOTHING;
  return Uint8Array.of(absenceMs & 0xff, (absenceMs >>> 8) | (isToBeTold ? TO_BE_TOLD : 0));
}

export function absenceMs(value: Uint8Array): number {
  return value.length === 2 ? value[0]! + (value[1]! & (TO_BE_TOLD - 1)) * 256 : 0;
}

export function isToBeTold(value: Uint8Array): boolean {
  return value.length === 2 && (value[1]! & TO_BE_TOLD) !== 0;
}
