/**
 * Which opcodes change a target's state, so that a retransmission must be answered from a record
 * instead of being executed again. Kinds:
 *
 *   - persistent: the record is saved in the transaction of the change (Session.record);
 *   - volatile: the effect lives in the target's memory only, and so does the record
 *     (Session.recordVolatile): Open and Release count open handles. Open that truncates is
 *     persistent; the caller decides by its flag (`isMutation` of Open is true).
 *
 * All others may be executed any number of times.
 */
import { Opcode } from './wire.generated.js';

const PERSISTENT = 1;
const VOLATILE = 2;

const kinds = new Uint8Array(256);
for (const opcode of [
  Opcode.SetAttr,
  Opcode.Create,
  Opcode.TmpFile,
  Opcode.Symlink,
  Opcode.MakeDir,
  Opcode.RemoveDir,
  Opcode.Prepare,
  Opcode.Unlink,
  Opcode.Link,
  Opcode.Rename,
  Opcode.Open,
  Opcode.Write,
  Opcode.Extend,
  Opcode.MarkStriped,
  Opcode.Cut,
  Opcode.EnsureRoot,
  Opcode.EnsureEmptyRoot,
  Opcode.Reserve,
  Opcode.SetXattr,
  Opcode.RemoveXattr,
  Opcode.Accessed,
  Opcode.BatchWrite,
  Opcode.BatchUnlink,
]) {
  kinds[opcode] = PERSISTENT;
}
kinds[Opcode.Release] = VOLATILE;

/** The opcode can change what is stored. */
export function isMutation(opcode: number): boolean {
  return kinds[opcode] === PERSISTENT;
}

/** A second execution would be wrong: of stored state or of open handles. */
export function needsRecord(opcode: number): boolean {
  return kinds[opcode] !== 0;
}
