/** The FUSE front end without a kernel: interrupts, and landing slots when there are too few. */
import assert from 'node:assert/strict';
import { FuseFront, defaultFuseFrontOptions } from '../../../src/client/fuse-front.js';
import { KernelValidity } from '../../../src/client/leases/kernel-validity.js';
import { giveSlot } from '../../../src/client/slot-owner.js';
import { errno } from '../../../src/common/errno.js';
import { crc32cOf } from '../../../src/native/crc32c.js';
import { Operation } from '../../../src/native/fuse.js';
import type { FuseRequest } from '../../../src/native/fuse.js';
import { Opcode, ReadReply, WriteReply } from '../../../src/protocol/wire.generated.js';
import { FakeWorld, attributesBody, put64 } from './fake-target.js';

/** What the kernel would see of a request's answer. */
interface Seen {
  status?: number;
  handle?: number;
  bytes?: number;
  entry?: boolean;
}

class Kernel {
  readonly fake = new FakeWorld(1);
  readonly inode = this.fake.inodeOn(0, 77);
  readonly front = new FuseFront(this.fake.core, this.fake.arena, this.fake.scheduler, {
    ...defaultFuseFrontOptions,
    callerIsDying: (pid) => this.dying.has(pid),
    callerChecksPermissions: () => false,
  });
  /** Threads that are being killed. */
  readonly dying = new Set([1]);
  #index = 0;
  readonly #name: number;

  constructor() {
    this.#name = this.fake.arena.messages.take();
    this.fake.arena.bytes[this.#name] = 0x66;
    const attributes = attributesBody({ inode: this.inode, sizeBytes: 1 << 20 });
    this.fake.answer(Opcode.Create, () => ({ body: attributes }));
    this.fake.answer(Opcode.GetAttr, () => ({ body: attributes }));
    this.fake.answer(Opcode.Read, () => {
      const data = new Uint8Array(65_536).fill(3);
      const body = new Uint8Array(ReadReply.SIZE);
      const words = new Uint32Array(body.buffer);
      put64(body, ReadReply.sizeBytes, 1 << 20);
      words[ReadReply.lengthBytes / 4] = data.length;
      words[ReadReply.checksum / 4] = crc32cOf(data);
      return { body, bulk: data, afterMs: 20 };
    });
    this.fake.answer(Opcode.Write, () => ({ body: new Uint8Array(WriteReply.SIZE) }));
  }

  /** Hands a request to the front end; `seen` is filled when it is answered. */
  ask(operation: number, fields: Partial<FuseRequest> = {}): { fuse: FuseRequest; seen: Seen } {
    const { arena } = this.fake;
    const seen: Seen = {};
    let slot = fields.dataOffset ?? 0;
    const answered = (what: Seen): void => {
      assert.deepEqual(seen, {}, 'a request is answered once');
      Object.assign(seen, what);
      if (slot !== 0) giveSlot(arena, slot);
      slot = 0;
    };
    let data = 0;
    const stub = {
      index: this.#index++,
      operation,
      pid: 1,
      inode: this.inode,
      uid: 0,
      gid: 0,
      flags: 0,
      mode: 0o644,
      nameOffset: this.#name,
      nameBytes: 1,
      offset: 0,
      sizeBytes: 65_536,
      handle: 0,
      takeSlot: () => {
        const taken = slot;
        slot = 0;
        return taken;
      },
      replyStatus: (status: number) => answered({ status }),
      replyAttributes: () => answered({ status: 0 }),
      replyCreate: (_attributes: number, _entry: number, _timeout: number, handle: number) =>
        answered({ handle }),
      replyWritten: (bytes: number) => answered({ bytes }),
      beginData: () => undefined,
      addSegment: (offset: number, bytes: number, release: boolean) => {
        data += bytes;
        if (release) giveSlot(arena, offset);
      },
      endData: () => answered({ bytes: data }),
      ...fields,
    };
    const fuse = stub as unknown as FuseRequest;
    this.fake.scheduler.deliver(() => this.front.onRequest(fuse));
    return { fuse, seen };
  }

  /** Handles of opens that were answered. */
  readonly handles: number[] = [];

  opened(): (handle: number) => void {
    return (handle) => {
      this.handles.push(handle);
    };
  }

  interrupt(fuse: FuseRequest): void {
    this.fake.scheduler.deliver(() => this.front.onInterrupt(fuse));
  }

  async open(): Promise<number> {
    const { seen } = this.ask(Operation.Create);
    await this.fake.pause(20);
    return seen.handle!;
  }
}

describe('FUSE front end', () => {
  it('leaves an interrupted request alone while the cluster is healthy', async () => {
    const kernel = new Kernel();
    await kernel.fake.run(async () => {
      const handle = await kernel.open();
      const { fuse, seen } = kernel.ask(Operation.Read, { handle });
      kernel.interrupt(fuse);
      await kernel.fake.pause(200);
      assert.deepEqual(seen, { bytes: 65_536 });
    });
  });

  it('answers EINTR when the target is away, and takes the slots back', async () => {
    const kernel = new Kernel();
    const { fake } = kernel;
    await fake.run(async () => {
      const handle = await kernel.open();
      const bulkBefore = fake.arena.bulk.available;
      fake.killTarget(0);
      await fake.pause(400);
      const dataOffset = fake.arena.bulk.take();
      const write = kernel.ask(Operation.Write, { handle, dataOffset });
      const read = kernel.ask(Operation.Read, { handle });
      const stat = kernel.ask(Operation.GetAttr);
      await fake.pause(2000);
      assert.deepEqual([write.seen, read.seen, stat.seen], [{}, {}, {}], 'hard: they wait');
      for (const { fuse } of [write, read, stat]) kernel.interrupt(fuse);
      await fake.pause(10);
      const interrupted = { status: errno.EINTR };
      assert.deepEqual([write.seen, read.seen, stat.seen], Array(3).fill(interrupted));
      assert.equal(fake.arena.bulk.available, bulkBefore, 'slots are back');
      fake.startTarget(0);
      fake.answer(Opcode.Open, () => ({ body: attributesBody({ inode: kernel.inode }) }));
      await fake.pause(5000);
      const again = kernel.ask(Operation.Read, { handle });
      await fake.pause(200);
      assert.deepEqual(again.seen, { bytes: 65_536 }, 'the handle still works');
    });
  });

  it('an interrupt shortly before the target is found away is acted upon later', async () => {
    const kernel = new Kernel();
    const { fake } = kernel;
    await fake.run(async () => {
      await kernel.open();
      fake.killTarget(0);
      const { fuse, seen } = kernel.ask(Operation.GetAttr);
      kernel.interrupt(fuse);
      await fake.pause(100);
      assert.deepEqual(seen, {});
      await fake.pause(3000);
      assert.deepEqual(seen, { status: errno.EINTR });
    });
  });

  it('whoever is only signalled waits on, until it is killed', async () => {
    const kernel = new Kernel();
    const { fake } = kernel;
    await fake.run(async () => {
      fake.killTarget(0);
      const signalled = kernel.ask(Operation.GetAttr, { pid: 2 });
      const killed = kernel.ask(Operation.GetAttr, { pid: 3 });
      for (const { fuse } of [signalled, killed]) kernel.interrupt(fuse);
      await fake.pause(12_000);
      assert.deepEqual([signalled.seen, killed.seen], [{}, {}]);
      kernel.dying.add(3);
      await fake.pause(300);
      assert.deepEqual(killed.seen, { status: errno.EINTR });
      fake.startTarget(0);
      await fake.pause(5000);
      assert.deepEqual(signalled.seen, { status: 0 });
    });
  });

  it('serves more reads than there are landing slots', async () => {
    const kernel = new Kernel();
    await kernel.fake.run(async () => {
      const handle = await kernel.open();
      const reads = Array.from({ length: 40 }, () => kernel.ask(Operation.Read, { handle }));
      await kernel.fake.pause(5);
      assert.ok(kernel.front.waiting > 0, 'some had to wait');
      await kernel.fake.pause(1000);
      for (const { seen } of reads) assert.deepEqual(seen, { bytes: 65_536 });
      assert.equal(kernel.front.waiting, 0);
    });
  });

  it('has the kernel forget attributes that are leased no more before it opens a file', async () => {
    const kernel = new Kernel();
    const { fake, front } = kernel;
    fake.answer(Opcode.Open, () => ({ body: attributesBody({ inode: kernel.inode }) }));
    const told: number[] = [];
    const validity = new KernelValidity(() => fake.scheduler.nowMs());
    const notices = {
      notifyInode: (inode: number): number => told.push(inode),
      notifyEpoch: (): number => 0,
      isCovered: false,
    };
    validity.ready(notices, false);
    front.validity = validity;
    await fake.run(async () => {
      await fake.pause(3000);
      const first = kernel.ask(Operation.Open, { replyOpen: kernel.opened() });
      await fake.pause(20);
      assert.deepEqual([told, kernel.handles.length], [[], 1], 'it was told nothing');
      validity.attributesMs(kernel.inode, 5000);
      const second = kernel.ask(Operation.Open, { replyOpen: kernel.opened() });
      const killed = kernel.ask(Operation.Open, { replyOpen: kernel.opened() });
      await fake.pause(20);
      assert.deepEqual(told, [kernel.inode, kernel.inode]);
      assert.equal(kernel.handles.length, 1, 'they wait');
      fake.scheduler.deliver(() => front.onNotified(1));
      await fake.pause(20);
      assert.equal(kernel.handles.length, 2);
      kernel.interrupt(killed.fuse);
      await fake.pause(11_000);
      assert.deepEqual(killed.seen, { status: errno.EINTR });
      assert.deepEqual([first.seen, second.seen], [{}, {}]);
    });
  });

  it('answers EBADF to a handle that is none, and ENOSYS to what it does not know', async () => {
    const kernel = new Kernel();
    await kernel.fake.run(async () => {
      const read = kernel.ask(Operation.Read, { handle: 999 });
      const unknown = kernel.ask(200);
      await kernel.fake.pause(5);
      assert.deepEqual(read.seen, { status: errno.EBADF });
      assert.deepEqual(unknown.seen, { status: errno.ENOSYS });
    });
  });
});
