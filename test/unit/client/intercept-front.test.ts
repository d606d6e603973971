/**
 * Protects the two ways to one file from each other: a program hears of its write only when the kernel has
 * forgotten what was before, and whatever the kernel must see is sent to it.
 */
import assert from 'node:assert/strict';
import { SET_DROP_SET_ID, SET_SIZE, ownedAttributes } from '../../../src/client/attributes.js';
import type { AttributeChange } from '../../../src/client/attributes.js';
import type { FileSystemCore } from '../../../src/client/core.js';
import { InterceptFront } from '../../../src/client/intercept-front.js';
import { NOTHING_TOLD } from '../../../src/client/leases/recalls.js';
import { ListAttributes } from '../../../src/client/listing-page.js';
import type { ClientRequest } from '../../../src/client/request.js';
import { errno } from '../../../src/common/errno.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { CallKind, Fallback, LISTING_ENDS } from '../../../src/native/intercept.js';
import type { InterceptCall } from '../../../src/native/intercept.js';

const arena = createPlainArena({ messageSlots: 8, bulkSlots: 1 });

type Fields = Partial<Record<keyof InterceptCall, number>>;

function call(fields: Fields): InterceptCall {
  const none = {
    call: 1,
    program: 9,
    flags: 0,
    inode: 7,
    handle: 3,
    offset: 0,
    lengthBytes: 5,
    slot: 4096,
  };
  return { ...none, ...fields } as unknown as InterceptCall;
}

describe('calls of intercepted programs', () => {
  let front: InterceptFront;
  let answers: [number, number, number][];
  let calls: { name: string; request: ClientRequest }[];
  let told: number;
  let dropped: number[];
  let isDropFull: boolean;
  let closed: number[];
  let inKernel: boolean;
  let isDue: boolean;

  beforeEach(() => {
    answers = [];
    calls = [];
    told = NOTHING_TOLD;
    dropped = [];
    isDropFull = false;
    closed = [];
    inKernel = false;
    isDue = false;
    const take =
      (name: string) =>
      (request: ClientRequest): void => {
        calls.push({ name, request });
      };
    const core = {
      open: take('open'),
      openDirectory: take('openDirectory'),
      read: take('read'),
      write: take('write'),
      getAttributes: take('getAttributes'),
      fsync: take('fsync'),
      readDirectory: (request: ClientRequest, ...args: number[]) => {
        calls.push({ name: `readDirectory ${args.join(' ')}`, request });
      },
      allocate: (request: ClientRequest, ...values: number[]) => {
        calls.push({ name: `allocate ${values.join(' ')}`, request });
      },
      setAttributes: (request: ClientRequest, inode: number, change: AttributeChange) => {
        calls.push({ name: `setAttributes ${inode} ${change.valid} ${change.sizeBytes}`, request });
      },
      isOpen: (inode: number) => inode === 7,
      isInKernel: (inode: number) => inode === 7 && inKernel,
      isAccessDue: () => isDue,
      closeHandle: (handle: number) => closed.push(handle),
    };
    front = new InterceptFront({
      core: core as unknown as FileSystemCore,
      arena,
      answer: (number, status, value) => answers.push([number, status, value]),
      forgetChanged: () => told,
      forgetChangedNames: () => told,
      dropPages: (inode) => (isDropFull ? 0 : dropped.push(inode)),
      mayKnow: () => false,
      statusOf: () => 'Uid:\t0\t0\t0\t5\nGid:\t0\t0\t0\t6\nCapEff:\t0\n',
    });
    front.onCall(call({ kind: CallKind.Hello, offset: 1234 }));
  });

  it('are made as who the program is', () => {
    front.onCall(call({ kind: CallKind.Write }));
    const { request } = calls[0]!;
    assert.equal(request.uid, 5);
    assert.equal(request.gid, 6);
    assert.equal(request.dropsSetId, true);
    assert.equal(front.programs, 1);
    front.onCall(call({ kind: CallKind.Gone }));
    assert.equal(front.programs, 0);
  });

  it('are answered when the kernel has forgotten what they changed', () => {
    told = 4;
    front.onCall(call({ kind: CallKind.Write }));
    calls[0]!.request.replyWritten(5);
    front.written(3);
    assert.deepEqual(answers, []);
    front.written(4);
    assert.deepEqual(answers, [[1, 0, 5]]);
    front.onCall(call({ kind: CallKind.Write, call: 2 }));
    calls[1]!.request.replyWritten(5);
    assert.deepEqual(answers.at(-1), [2, 0, 5], 'it has forgotten already');
  });

  it('are answered after it, too, when they fail half-way', () => {
    told = 1;
    front.onCall(call({ kind: CallKind.Write }));
    calls[0]!.request.replyError(28);
    assert.deepEqual(answers, []);
    front.written(1);
    assert.deepEqual(answers, [[1, 28, 0]]);
  });

  it('tell the kernel of reads only when an access time changes', () => {
    told = 1;
    front.onCall(call({ kind: CallKind.Read }));
    calls[0]!.request.replyRead(5);
    assert.deepEqual(answers, [[1, 0, 5]]);
    isDue = true;
    front.onCall(call({ kind: CallKind.Read, call: 2 }));
    calls[1]!.request.replyRead(5);
    assert.equal(answers.length, 1);
    front.written(1);
    assert.deepEqual(answers.at(-1), [2, 0, 5]);
  });

  it("are the kernel's while pages or locks of the file are there", () => {
    inKernel = true;
    front.onCall(call({ kind: CallKind.Read }));
    front.onCall(call({ kind: CallKind.Write, call: 2 }));
    front.onCall(call({ kind: CallKind.FileSync, call: 3 }));
    front.onCall(call({ kind: CallKind.FileTruncate, call: 4 }));
    assert.deepEqual(calls, []);
    assert.deepEqual(
      answers,
      [1, 2, 3, 4].map((number) => [number, Fallback.InKernel, 0]),
    );
  });

  it('are answered when pages are dropped that were read while they wrote', () => {
    front.onCall(call({ kind: CallKind.Write }));
    front.onCall(call({ kind: CallKind.FileTruncate, call: 2, slot: 0 }));
    inKernel = true;
    // Nobody has to have it open any more who wrote.
    front.onCall(call({ kind: CallKind.Close, handle: 3 }));
    calls[0]!.request.replyWritten(5);
    assert.deepEqual(dropped, [7]);
    assert.deepEqual(answers, []);
    front.pagesDropped(1);
    assert.deepEqual(answers, [[1, 0, 5]]);
    calls[1]!.request.replyAttributes(ownedAttributes());
    assert.deepEqual(dropped, [7, 7]);
    front.pagesDropped(2);
    assert.deepEqual(answers.at(-1), [2, 0, 0]);
  });

  it('wait for room to have pages dropped, and then for the kernel to be told', () => {
    front.onCall(call({ kind: CallKind.Write }));
    inKernel = true;
    told = 6;
    isDropFull = true;
    calls[0]!.request.replyWritten(5);
    isDropFull = false;
    // Other pages, which took the room.
    front.pagesDropped(0);
    assert.deepEqual(dropped, [7]);
    front.written(5);
    front.pagesDropped(1);
    assert.deepEqual(answers, []);
    front.written(6);
    assert.deepEqual(answers, [[1, 0, 5]]);
  });

  it('read directories as the kernel does: attributes at first, and further on if they are used', () => {
    const { Learnt, IfUsed } = ListAttributes;
    front.onCall(call({ kind: CallKind.ReadDirectory, lengthBytes: 4096 }));
    assert.equal(calls[0]!.name, `readDirectory 3 0 4096 ${Learnt} 4096`);
    calls[0]!.request.replyEntries(4096, 80, false);
    front.onCall(call({ kind: CallKind.ReadDirectory, offset: 99, lengthBytes: 4096, call: 2 }));
    assert.equal(calls[1]!.name, `readDirectory 3 99 4096 ${IfUsed} 4096`);
    // The last ones have come inside a message.
    arena.bytes.set([1, 2, 3, 4], 40_000);
    calls[1]!.request.replyEntries(40_000, 4, true);
    assert.deepEqual(answers, [
      [1, 0, 80],
      [2, 0, 4 + LISTING_ENDS],
    ]);
    assert.deepEqual([...arena.bytes.subarray(4096, 4100)], [1, 2, 3, 4]);
    // The access time has changed.
    told = 1;
    isDue = true;
    front.onCall(call({ kind: CallKind.ReadDirectory, call: 3 }));
    calls[2]!.request.replyEntries(4096, 0, true);
    assert.equal(answers.length, 2);
    front.written(1);
    assert.deepEqual(answers.at(-1), [3, 0, LISTING_ENDS]);
  });

  it('make files durable, which changes nothing', () => {
    told = 1;
    front.onCall(call({ kind: CallKind.FileSync, slot: 0 }));
    assert.equal(calls[0]!.name, 'fsync');
    calls[0]!.request.replyDone();
    front.onCall(call({ kind: CallKind.FileSync, slot: 0 }));
    calls[1]!.request.replyError(errno.EIO);
    assert.deepEqual(answers, [
      [1, 0, 0],
      [1, errno.EIO, 0],
    ]);
  });

  it('cut files, and their set-ID bits, as who has no right to keep them', () => {
    told = 1;
    const before = arena.bytes.slice(0, 256);
    front.onCall(call({ kind: CallKind.FileTruncate, slot: 0, offset: 4096 }));
    assert.equal(calls[0]!.name, `setAttributes 7 ${SET_SIZE | SET_DROP_SET_ID} 4096`);
    calls[0]!.request.replyAttributes(ownedAttributes());
    assert.deepEqual(answers, [], 'the kernel believes the old size');
    front.written(1);
    assert.deepEqual(answers, [[1, 0, 0]]);
    assert.deepEqual(arena.bytes.slice(0, 256), before, 'there is no room for attributes');
  });

  it('make room in files, and have the kernel forget their sizes', () => {
    told = 4;
    const fields = { kind: CallKind.FileAllocate, flags: 17, offset: 4096, secondInode: 2 ** 33 };
    front.onCall(call(fields));
    assert.deepEqual(
      calls.map(({ name }) => name),
      [`allocate 3 17 4096 ${2 ** 33}`],
    );
    assert.equal(calls[0]!.request.dropsSetId, true);
    calls[0]!.request.replyDone();
    assert.deepEqual(answers, []);
    front.written(4);
    assert.deepEqual(answers, [[1, 0, 0]]);
    inKernel = true;
    front.onCall(call(fields));
    assert.deepEqual([calls.length, answers.at(-1)], [1, [1, Fallback.InKernel, 0]]);
  });

  it('open only what the kernel has open', () => {
    front.onCall(call({ kind: CallKind.Open, inode: 8 }));
    assert.deepEqual(answers, [[1, Fallback.NotHere, 0]]);
    front.onCall(call({ kind: CallKind.Open, call: 2 }));
    calls[0]!.request.replyOpened(11);
    assert.deepEqual(answers.at(-1), [2, 0, 11]);
    front.onCall(call({ kind: CallKind.Close, handle: 11 }));
    assert.deepEqual(closed, [11]);
  });
});
