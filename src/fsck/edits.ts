/** Edits of inode records: a field of the stored value, all else as it is. */
import { bucketOfInode } from '../placement/inode-number.js';
import { InodeRecord } from '../server/inode-record.js';
import { inodeKey } from '../server/keys.js';
import { copyOf } from './findings.js';
import type { Edit } from './findings.js';
import { storedNumber, viewOf } from './values.js';

export interface RecordChange {
  linkCount?: number;
  parent?: number;
  sizeBytes?: number;
  /** Bits that become `flags`; others stay. */
  flagMask?: number;
  flags?: number;
}

/** Of a record that is there; one that is gone by then stays gone. */
export function recordEdit(
  holderOf: (bucket: number) => number,
  inode: number,
  change: RecordChange,
): Edit {
  return {
    target: holderOf(bucketOfInode(inode)),
    key: inodeKey(inode).slice(),
    apply: (value) => {
      if (value?.length !== InodeRecord.SIZE) return value;
      const changed = copyOf(value);
      const view = viewOf(changed);
      if (change.linkCount !== undefined) {
        view.setUint32(InodeRecord.linkCount, change.linkCount, true);
      }
      if (change.parent !== undefined) changed.set(storedNumber(change.parent), InodeRecord.parent);
      if (change.sizeBytes !== undefined) {
        changed.set(storedNumber(change.sizeBytes), InodeRecord.sizeBytes);
        changed.set(storedNumber(Math.ceil(change.sizeBytes / 512)), InodeRecord.blocks);
      }
      if (change.flagMask !== undefined) {
        const others = view.getUint32(InodeRecord.flags, true) & ~change.flagMask;
        view.setUint32(InodeRecord.flags, (others | (change.flags ?? 0)) >>> 0, true);
      }
      return changed;
    },
  };
}
