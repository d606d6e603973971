/** Somebody without privileges, for tests of permissions. */
import type { Credentials } from '../../../src/client/credentials.js';

export const user: Credentials = {
  uid: 1000,
  gid: 100,
  groups: [200],
  dropsSetId: true,
  passesDirectories: false,
  overrides: false,
  ownsAll: false,
  changesOwners: false,
  isPlain: true,
};
