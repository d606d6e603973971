/**
 * A HistoryClient behind a kernel that remembers (model-kernel.ts): what the kernel knows costs no request, and
 * is seen all the same. As in Linux a name is looked up before it is given, taken or moved, and what such a
 * change concerns is asked for anew.
 */
import type { Answer } from '../../src/client/answer.js';
import { errno } from '../../src/common/errno.js';
import { HistoryClient, resultOf } from './history-client.js';
import type { Settled } from './history-client.js';
import { ModelKernel } from './model-kernel.js';
import { EXCHANGE } from './name-space.js';
import type { Result } from './name-space.js';

export class KernelHistoryClient extends HistoryClient {
  kernel!: ModelKernel;

  override async lookup(dir: number, name: string): Promise<Result> {
    const { kernel } = this;
    const operation = { op: 'entry', dir, name } as const;
    const known = kernel.name(dir, name);
    if (known === undefined) return super.lookup(dir, name, this.#takesName(dir, name));
    kernel.answered++;
    if (known === 0) {
      const result = { error: 'ENOENT' };
      this.saw({ operation, result });
      return result;
    }
    this.saw({ operation, result: { inode: known } });
    return { inode: known, ...(await this.attributes(known)) };
  }

  #takesName(dir: number, name: string): Settled {
    const { kernel } = this;
    const began = kernel.begin();
    return (answer, status) => {
      if (status === errno.ENOENT) kernel.tookName(began, dir, name, 0, answer.entryValidMs);
      if (status !== 0) return;
      const { inode = 0 } = resultOf(answer);
      kernel.tookName(began, dir, name, inode, answer.entryValidMs);
      kernel.tookAttributes(began, inode, seenOf(answer), answer.attributesValidMs);
    };
  }

  override async attributes(inode: number): Promise<Result> {
    const { kernel } = this;
    const known = kernel.attributes(inode);
    if (known !== undefined) {
      kernel.answered++;
      this.saw({ operation: { op: 'attributes', inode }, result: known });
      return known;
    }
    const began = kernel.begin();
    return super.attributes(inode, (answer, status) => {
      if (status !== 0) return;
      kernel.tookAttributes(began, inode, seenOf(answer), answer.attributesValidMs);
    });
  }

  // ---------------------------------------------------------------- changes

  /** Runs a change of these names and inodes; `took` hears of the answer when the change is over. */
  #change(
    concerned: (number | string)[],
    run: (settled: Settled) => Promise<Result>,
    took?: Settled,
  ): Promise<Result> {
    const end = this.kernel.change(...concerned);
    return run((answer, status) => {
      end();
      return took?.(answer, status);
    });
  }

  /** A new name: what the answer says of it may be remembered. */
  async #make(
    dir: number,
    name: string,
    concerned: number[],
    run: (settled: Settled) => Promise<Result>,
  ): Promise<Result> {
    const known = await this.lookup(dir, name);
    if (known.error === undefined) return { error: 'EEXIST' };
    const all = [dir, ModelKernel.nameOf(dir, name), ...concerned];
    let took: Settled | undefined;
    return this.#change(all, run, (answer, status) => {
      // Nothing was invalidated but by this change itself.
      took ??= this.#takesName(dir, name);
      return status === 0 ? took(answer, status) : undefined;
    });
  }

  override create(dir: number, name: string): Promise<Result> {
    return this.#make(dir, name, [], (settled) => super.create(dir, name, settled));
  }

  override mkdir(dir: number, name: string): Promise<Result> {
    return this.#make(dir, name, [], (settled) => super.mkdir(dir, name, settled));
  }

  override link(inode: number, dir: number, name: string): Promise<Result> {
    return this.#make(dir, name, [inode], (settled) => super.link(inode, dir, name, settled));
  }

  async #concerns(dir: number, name: string): Promise<(number | string)[]> {
    const { inode } = await this.lookup(dir, name);
    return [dir, ModelKernel.nameOf(dir, name), ...(inode === undefined ? [] : [inode])];
  }

  override async unlink(dir: number, name: string): Promise<Result> {
    const concerned = await this.#concerns(dir, name);
    return this.#change(concerned, (settled) => super.unlink(dir, name, settled));
  }

  override async rmdir(dir: number, name: string): Promise<Result> {
    const concerned = await this.#concerns(dir, name);
    return this.#change(concerned, (settled) => super.rmdir(dir, name, settled));
  }

  override async rename(
    dir: number,
    name: string,
    toDir: number,
    toName: string,
    flags: number,
  ): Promise<Result> {
    const concerned = [
      ...(await this.#concerns(dir, name)),
      ...(await this.#concerns(toDir, toName)),
    ];
    const moved = this.kernel.rename(dir, name, toDir, toName, flags === EXCHANGE);
    return this.#change(
      concerned,
      (settled) => super.rename(dir, name, toDir, toName, flags, settled),
      ({ entryValidMs }, status) => (status === 0 ? moved(entryValidMs) : undefined),
    );
  }
}

function seenOf(answer: Answer): Result {
  const { kind, links } = resultOf(answer);
  return { ...(kind === undefined ? {} : { kind }), ...(links === undefined ? {} : { links }) };
}
