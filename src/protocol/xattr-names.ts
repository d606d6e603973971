/**
 * Extended attributes are kept whose names begin with one of these and go on, beside access control lists
 * (posix-acl.ts). Others are no names: EOPNOTSUPP, whether the inode has attributes or not.
 */
export const XATTR_PREFIXES: readonly Buffer[] = ['user.', 'trusted.', 'security.'].map((text) =>
  Buffer.from(text),
);
