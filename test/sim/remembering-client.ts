/**
 * A HistoryClient whose program remembers what it was answered, as the preload library does (docs/intercept.md,
 * "Remembered paths"): for as long as the answer may be believed and the versions of what it depends on are the same,
 * it is seen again without anybody being asked.
 */
import type { Answer } from '../../src/client/answer.js';
import { NameReference } from '../../src/client/request.js';
import { Dependencies } from '../../src/client/leases/dependencies.js';
import { VERSIONS_WORDS } from '../../src/client/leases/versions.js';
import { errno } from '../../src/common/errno.js';
import type { SimCluster } from './cluster.js';
import { HistoryClient, resultOf } from './history-client.js';
import type { Settled } from './history-client.js';
import type { Result } from './name-space.js';

/** Words of the versions before cell 0. */
const FIRST_CELL = 16;

interface Remembered {
  /** Undefined: the name is absent. */
  inode: number | undefined;
  seen: Result;
  untilMs: number;
  cells: [cell: number, version: number][];
}

export class RememberingHistoryClient extends HistoryClient {
  cluster!: SimCluster;
  /** Questions that nobody was asked. */
  answered = 0;
  readonly #versions = new Uint32Array(VERSIONS_WORDS);
  readonly #remembered = new Map<string, Remembered>();

  /** From now on. */
  start(cluster: SimCluster): void {
    this.cluster = cluster;
    this.client.core.showVersions(this.#versions);
  }

  #find(key: string): Remembered | undefined {
    const found = this.#remembered.get(key);
    if (found === undefined || found.untilMs <= this.cluster.world.nowMs) return undefined;
    const isTrue = found.cells.every(([cell, then]) => this.#versions[FIRST_CELL + cell] === then);
    if (!isTrue) return undefined;
    this.answered++;
    return found;
  }

  /**
   * Asks, and remembers what is answered before `ask` has returned: it is from memory. `dependsOn` adds what it
   * depends on.
   */
  #asking(
    key: string,
    ask: (settled: Settled) => Promise<Result>,
    dependsOn: (answer: Answer, status: number, to: Dependencies) => void,
  ): Promise<Result> {
    const askedMs = this.cluster.world.nowMs;
    const notes = new Dependencies();
    notes.begin();
    let inOneGo = true;
    const promise = ask((answer, status) => {
      if (!inOneGo || (status !== 0 && status !== errno.ENOENT)) return;
      dependsOn(answer, status, notes);
      if (!notes.isWhole) return;
      const { inode, kind, links } = resultOf(answer);
      const seen = {
        ...(kind === undefined ? {} : { kind }),
        ...(links === undefined ? {} : { links }),
      };
      const cells = Array.from({ length: notes.count }, (_, i): [number, number] => [
        notes.cells[i]!,
        notes.versions[i]!,
      ]);
      this.#remembered.set(key, { inode, seen, untilMs: askedMs + notes.validMs, cells });
    });
    inOneGo = false;
    return promise;
  }

  override lookup(dir: number, name: string): Promise<Result> {
    const key = `${dir}/${name}`;
    const known = this.#find(key);
    const operation = { op: 'entry', dir, name } as const;
    if (known !== undefined) {
      const { inode, seen } = known;
      if (inode === undefined) {
        const result = { error: 'ENOENT' };
        this.saw({ operation, result });
        return Promise.resolve(result);
      }
      // Both at one moment, which is this one.
      this.saw(
        { operation, result: { inode } },
        { operation: { op: 'attributes', inode }, result: seen },
      );
      return Promise.resolve({ inode, ...seen });
    }
    const { core } = this.client;
    const bytes = new TextEncoder().encode(name);
    return this.#asking(
      key,
      (settled) => super.lookup(dir, name, settled),
      (answer, status, to) => {
        core.nameDependsOn(dir, new NameReference().set(bytes, 0, bytes.length), to);
        if (status === 0) core.attributesDependOn(resultOf(answer).inode!, to);
      },
    );
  }

  override attributes(inode: number): Promise<Result> {
    const known = this.#find(`${inode}`);
    if (known !== undefined) {
      this.saw({ operation: { op: 'attributes', inode }, result: known.seen });
      return Promise.resolve(known.seen);
    }
    return this.#asking(
      `${inode}`,
      (settled) => super.attributes(inode, settled),
      (_answer, status, to) => {
        if (status === 0) this.client.core.attributesDependOn(inode, to);
        else to.spoil();
      },
    );
  }
}
