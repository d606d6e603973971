/** Of what programs keep for themselves. */
export const USER_PREFIX = Buffer.from('user.');

/**
 * Extended attributes are kept whose names begin with one of these and go on, beside access control lists
 * (posix-acl.ts). Others are no names: EOPNOTSUPP, whether the inode has attributes or not.
 */
export const XATTR_PREFIXES: readonly Buffer[] = [
  USER_PREFIX,
  Buffer.from('trusted.'),
  Buffer.from('security.'),
];
