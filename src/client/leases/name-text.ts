/** A name as bytes somewhere in memory, with the hash that the wire and the targets know it by. */
export interface NameText {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly lengthBytes: number;
  hash44(): number;
}
