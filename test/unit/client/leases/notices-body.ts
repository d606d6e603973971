/** Bodies of NoticesReply for scripted targets. */
import { writeU16, writeU53 } from '../../../../src/protocol/u53.js';
import { Notice, NoticesReply } from '../../../../src/protocol/wire.generated.js';

export interface NoticeValues {
  number: number;
  kind: number;
  inode: number;
  hash?: number;
  status?: number;
}

export function noticesBody(notices: NoticeValues[], flags = 0): Uint8Array {
  const words = new Uint32Array((NoticesReply.SIZE + notices.length * Notice.SIZE) / 4);
  words[NoticesReply.count / 4] = notices.length;
  words[NoticesReply.flags / 4] = flags;
  notices.forEach(({ number, kind, inode, hash, status }, i) => {
    const at = NoticesReply.SIZE + i * Notice.SIZE;
    writeU53(words, at + Notice.number, number);
    writeU53(words, at + Notice.inode, inode);
    writeU53(words, at + Notice.hash, hash ?? 0);
    writeU16(words, at + Notice.kind, kind);
    writeU16(words, at + Notice.status, status ?? 0);
  });
  return new Uint8Array(words.buffer);
}
