/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const Opcode = {
  /** length in bytes */
  Read: 1,
  /** length in bytes */
  Write: 2,
  /** fdatasync: covers the writes that completed before it was submitted */
  Sync: 3,
  /** fallocate from `block` on; length in blocks */
  Allocate: 4,
} as const;

export const Submission = {
  SIZE: 32,
  /** uint */
  opcode: 0,
  /** uint: number of an open device file */
  file: 4,
  /** uint: arena offset */
  memory: 8,
  /** uint */
  length: 12,
  /** uint: 4 KiB blocks from the start of the file */
  block: 16,
  /** uint: comes back in the completion */
  tag: 20,
  /** uint */
  reserved0: 24,
  /** uint */
  reserved1: 28,
} as const;

export const Completion = {
  SIZE: 8,
  /** uint */
  tag: 0,
  /** int: bytes, 0, or an errno negated */
  result: 4,
} as const;
