/** Linux errno numbers by name: what statuses on the data path are. Source: errno(3). */
import { constants } from 'node:os';

export const errno = constants.errno;

const names = new Map<number, string>(
  Object.entries(constants.errno).map(([name, value]) => [value, name]),
);
// Two names share a number on Linux; the usual one wins.
names.set(constants.errno.EAGAIN, 'EAGAIN');
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

export function errnoName(status: number): string {
  return names.get(status) ?? `errno ${status}`;
}

/** Linux numbers that node:os does not list. */
/** The name, or cookie, is in another partition of its directory. */
export const EREMCHG = 78;
export const ESTALE = 116;
export const EUCLEAN = 117;
