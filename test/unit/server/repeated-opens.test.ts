/**
 * Requests that register an open file and are repeated by a client whose connection broke. Protects: in the process
 * that executed them they register nothing a second time, since the file may be released meanwhile and would
 * stay open for ever; in one that was started since, which knows of no open files, they do.
 */
import assert from 'node:assert/strict';
import { REPLY_REPLAYED } from '../../../src/protocol/frame.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { CREATE_OPEN } from '../../../src/server/namespace-create.js';
import { RawClient } from '../transport/raw-client.js';
import { body } from './namespace-harness.js';
import { TargetCluster } from './target-harness.js';

const OPEN_TRUNCATE = 1;

/** Slots of the client's: of what is repeated, and of the others. */
const REPEATED = 3;
const OTHER = 4;

class Scene {
  readonly cluster = new TargetCluster();
  readonly root = this.cluster.root();
  readonly client: RawClient;
  #connection = 0;
  #sequence = 1;

  constructor() {
    this.client = new RawClient(this.cluster.network, 'raw', {
      clusterId: this.cluster.map.clusterId,
      targetId: 'target-0',
      port: 1,
    });
    this.connect();
  }

  connect(): void {
    this.#connection = this.client.connect();
    assert.equal(this.client.hello(this.#connection).status, 0);
  }

  restart(): void {
    const [node] = this.cluster.nodes;
    node!.kill();
    node!.start();
    this.connect();
  }

  /** Sends it, by the first sequence number of its slot; whether it was answered from a record, and with what. */
  ask(
    opcode: number,
    bytes: Uint8Array,
    slot = REPEATED,
    sequence = 1,
  ): { isReplay: boolean; inode: number } {
    const { client, cluster } = this;
    const count = client.replies.length;
    client.send(this.#connection, opcode, slot, sequence, bytes);
    assert.ok(cluster.world.run(() => client.replies.length > count, 1000));
    const reply = client.replies.at(-1)!;
    assert.deepEqual([reply.slot, reply.opcode, reply.status], [slot, opcode, 0]);
    const isInode = reply.body.length >= 8;
    return {
      isReplay: (reply.flags & REPLY_REPLAYED) !== 0,
      inode: isInode ? Number(Buffer.from(reply.body).readBigUInt64LE(0)) : 0,
    };
  }

  release(inode: number): void {
    this.ask(Opcode.Release, body(Wire.InodeRequest, { inode }), OTHER, this.#sequence++);
  }

  /** By another client. */
  openElsewhere(inode: number): void {
    const node = this.cluster.nodes[0]!;
    const { status } = this.cluster.call(node, Opcode.Open, body(Wire.OpenRequest, { inode }));
    assert.equal(status, 0);
  }

  get openInodes(): number {
    return this.cluster.nodes[0]!.target.report()['openInodes']!;
  }
}

type Request = readonly [opcode: number, bytes: Uint8Array];

const requests: Record<string, (scene: Scene) => Request> = {
  open: ({ cluster, root }) => {
    const inode = cluster.create(root, 'f');
    return [Opcode.Open, body(Wire.OpenRequest, { inode })];
  },
  'open that truncates': ({ cluster, root }) => {
    const inode = cluster.create(root, 'f');
    return [Opcode.Open, body(Wire.OpenRequest, { inode, flags: OPEN_TRUNCATE })];
  },
  create: ({ cluster, root }) => [Opcode.Create, cluster.createBody(root, 'f', CREATE_OPEN)],
  'file without a name': ({ root }) => [
    Opcode.TmpFile,
    body(Wire.CreateRequest, { parent: root, mode: 0o100644 }),
  ],
};

for (const [name, request] of Object.entries(requests)) {
  describe(`a repeated ${name}`, () => {
    it('registers nothing that was released since, in the process that executed it', () => {
      const scene = new Scene();
      const [opcode, bytes] = request(scene);
      const { inode, isReplay } = scene.ask(opcode, bytes);
      assert.equal(isReplay, false);
      assert.equal(scene.openInodes, 1);
      // The connection breaks; it is still open here.
      scene.connect();
      assert.deepEqual(scene.ask(opcode, bytes), { inode, isReplay: true });
      assert.equal(scene.openInodes, 1);
      // A file without a name is gone with its last close: so this one is kept by another client.
      const { cluster } = scene;
      scene.openElsewhere(inode);
      scene.release(inode);
      assert.deepEqual(scene.ask(opcode, bytes), { inode, isReplay: true });
      assert.equal(cluster.inodeCall(Opcode.Release, inode).status, 0);
      assert.equal(scene.openInodes, 0);
    });

    it('registers in a process that was started since, and there once', () => {
      const scene = new Scene();
      const [opcode, bytes] = request(scene);
      const { inode } = scene.ask(opcode, bytes);
      scene.restart();
      assert.equal(scene.openInodes, 0);
      assert.equal(scene.ask(opcode, bytes).inode, inode);
      assert.equal(scene.openInodes, 1);
      scene.openElsewhere(inode);
      scene.release(inode);
      assert.equal(scene.ask(opcode, bytes).inode, inode);
      assert.equal(scene.cluster.inodeCall(Opcode.Release, inode).status, 0);
      assert.equal(scene.openInodes, 0);
    });
  });
}
