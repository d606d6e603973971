/**
 * The name space that a history is checked against: inodes with identities, directories with
 * entries, nothing else. A state is immutable; an operation makes the next one. States that are
 * alike have the same `key`, so that a search can tell that it has been here.
 *
 * Inodes have the numbers that clients saw. What was made by an operation that nobody saw the answer
 * of has a number below 0 until somebody sees it; then it is bound to what was seen.
 *
 * Errors are those of Linux in Linux's order (fs/namei.c). Where more than one would be right, each
 * is allowed:
 *   - an inode or directory that is gone may be ESTALE or ENOENT (or, asked for by its number alone,
 *     have no links), and comes before or after whatever
 *     else is wrong, since the kernel looks things up before it asks;
 *   - rename between two directories: what is wrong with the one or with the other, since both are
 *     checked at once, each at its own target;
 *   - rename of a file over a directory above it: ENOTEMPTY (Linux, by its locking) or EISDIR.
 */
export const NOREPLACE = 1;
export const EXCHANGE = 2;

export type Operation =
  | {
      readonly op: 'create' | 'mkdir' | 'unlink' | 'rmdir';
      readonly dir: number;
      readonly name: string;
    }
  | { readonly op: 'link'; readonly inode: number; readonly dir: number; readonly name: string }
  | {
      readonly op: 'rename';
      readonly dir: number;
      readonly name: string;
      readonly toDir: number;
      readonly toName: string;
      readonly flags: number;
    }
  /** Which inode has this name. */
  | { readonly op: 'entry'; readonly dir: number; readonly name: string }
  /** Kind and link count of an inode. */
  | { readonly op: 'attributes'; readonly inode: number }
  /** Both at one moment. */
  | { readonly op: 'stat'; readonly dir: number; readonly name: string };

/** What a client saw: an errno's name, or what there was to see. */
export interface Result {
  readonly error?: string;
  readonly inode?: number;
  readonly kind?: 'file' | 'dir';
  readonly links?: number;
}

interface Node {
  readonly kind: 'file' | 'dir';
  /** Of a file: its names. Of a directory: 2 and its subdirectories. */
  readonly links: number;
  /** Of a directory: the one it stands in, 0 for the first. */
  readonly parent: number;
  readonly entries: ReadonlyMap<string, number>;
  readonly text: string;
}

const GONE = ['ENOENT', 'ESTALE'];
const none: ReadonlyMap<string, number> = new Map();

function node(
  kind: 'file' | 'dir',
  links: number,
  parent: number,
  entries: ReadonlyMap<string, number>,
): Node {
  const names = [...entries].map(([name, inode]) => `${name}=${inode}`).sort();
  return { kind, links, parent, entries, text: `${kind}${links}<${parent}{${names.join()}}` };
}

export class NameSpace {
  readonly #nodes: ReadonlyMap<number, Node>;
  #key: string | undefined;

  private constructor(nodes: ReadonlyMap<number, Node>) {
    this.#nodes = nodes;
  }

  /** One empty directory. */
  static root(inode: number): NameSpace {
    return new NameSpace(new Map([[inode, node('dir', 2, 0, none)]]));
  }

  get key(): string {
    this.#key ??= [...this.#nodes]
      .sort(([a], [b]) => a - b)
      .map(([inode, { text }]) => `${inode}${text}`)
      .join(';');
    return this.#key;
  }

  /** Inodes that live. */
  inodes(): IterableIterator<number> {
    return this.#nodes.keys();
  }

  /** Names below a directory, to be read by people: `a=12 b/=13 b/c=14`. */
  describe(directory: number, prefix = ''): string {
    const lines: string[] = [];
    for (const [name, inode] of [...(this.#nodes.get(directory)?.entries ?? [])].sort()) {
      const { kind, links } = this.#nodes.get(inode)!;
      lines.push(`${prefix}${name}${kind === 'dir' ? '/' : ''}=${inode}(${links})`);
      if (kind === 'dir') lines.push(this.describe(inode, `${prefix}${name}/`));
    }
    return lines.filter((line) => line !== '').join(' ');
  }

  /**
   * The state after `operation` with this result; undefined when the result would be wrong here.
   * Without a result (nobody saw it) what succeeds; `unseen` is the number of what it makes.
   */
  after(operation: Operation, result: Result | undefined, unseen: number): NameSpace | undefined {
    // Who has it open may ask for what has no name any more.
    if (operation.op === 'attributes' && result?.links === 0) {
      return this.#nodes.has(operation.inode) ? undefined : this;
    }
    const refusals = this.#refusals(operation);
    if (result?.error !== undefined) return refusals.includes(result.error) ? this : undefined;
    if (refusals.length > 0) return undefined;
    switch (operation.op) {
      case 'create':
        return this.#make(operation.dir, operation.name, 'file', result, unseen);
      case 'mkdir':
        return this.#make(operation.dir, operation.name, 'dir', result, unseen);
      case 'unlink':
      case 'rmdir':
        return this.#take(operation.dir, operation.name);
      case 'link':
        return this.#link(operation, result);
      case 'rename':
        return this.#rename(operation);
      case 'attributes':
        return this.#agrees(operation.inode, result) ? this : undefined;
      default:
        return this.#seen(this.#entry(operation.dir, operation.name)!, result);
    }
  }

  // ---------------------------------------------------------------- errors

  #entry(directory: number, name: string): number | undefined {
    return this.#nodes.get(directory)?.entries.get(name);
  }

  #isDirectory(inode: number): boolean {
    return this.#nodes.get(inode)?.kind === 'dir';
  }

  /** Errors that would be right here; none: it succeeds. */
  #refusals(operation: Operation): readonly string[] {
    if (operation.op === 'attributes') return this.#nodes.has(operation.inode) ? [] : GONE;
    if (operation.op === 'rename') return this.#renameRefusals(operation);
    if (operation.op === 'link') return this.#linkRefusals(operation);
    const { op, dir, name } = operation;
    if (!this.#nodes.has(dir)) return GONE;
    const inode = this.#entry(dir, name);
    if (op === 'create' || op === 'mkdir') return inode === undefined ? [] : ['EEXIST'];
    if (inode === undefined) return ['ENOENT'];
    if (op === 'unlink') return this.#isDirectory(inode) ? ['EISDIR'] : [];
    if (op !== 'rmdir') return [];
    if (!this.#isDirectory(inode)) return ['ENOTDIR'];
    return this.#nodes.get(inode)!.entries.size > 0 ? ['ENOTEMPTY'] : [];
  }

  #linkRefusals({ inode, dir, name }: Operation & { op: 'link' }): string[] {
    const refusals: string[] = [];
    if (!this.#nodes.has(inode) || !this.#nodes.has(dir)) refusals.push(...GONE);
    if (this.#entry(dir, name) !== undefined) refusals.push('EEXIST');
    else if (this.#isDirectory(inode)) refusals.push('EPERM');
    return refusals;
  }

  #renameRefusals(operation: Operation & { op: 'rename' }): string[] {
    const { dir, name, toDir, toName, flags } = operation;
    const refusals: string[] = [];
    if (!this.#nodes.has(dir) || !this.#nodes.has(toDir)) refusals.push(...GONE);
    if (dir === toDir && refusals.length > 0) return refusals;
    const moved = this.#entry(dir, name);
    const there = this.#entry(toDir, toName);
    if (moved === undefined) refusals.push('ENOENT');
    if (flags === NOREPLACE && there !== undefined) refusals.push('EEXIST');
    if (flags === EXCHANGE && there === undefined) refusals.push('ENOENT');
    if (moved !== undefined) refusals.push(...this.#moveRefusals(operation, moved, there));
    return dir === toDir ? refusals.slice(0, 1) : refusals;
  }

  /** Of a rename whose two names are what they have to be. */
  #moveRefusals(
    { dir, toDir, flags }: Operation & { op: 'rename' },
    moved: number,
    there: number | undefined,
  ): string[] {
    const refusals: string[] = [];
    if (this.#isAbove(moved, toDir)) refusals.push('EINVAL');
    if (there === undefined || there === moved) return refusals;
    if (flags === EXCHANGE) {
      if (this.#isAbove(there, dir)) refusals.push('EINVAL');
      return refusals;
    }
    if (this.#isAbove(there, dir)) refusals.push('ENOTEMPTY');
    if (this.#isDirectory(moved)) {
      if (!this.#isDirectory(there)) refusals.push('ENOTDIR');
      else if (this.#nodes.get(there)!.entries.size > 0) refusals.push('ENOTEMPTY');
    } else if (this.#isDirectory(there)) refusals.push('EISDIR');
    return refusals;
  }

  /** Whether `directory` is `inode` or below it. */
  #isAbove(inode: number, directory: number): boolean {
    let at = directory;
    while (at !== 0 && at !== inode) at = this.#nodes.get(at)?.parent ?? 0;
    return at === inode;
  }

  // ---------------------------------------------------------------- observations

  #agrees(inode: number, { kind, links }: Result = {}): boolean {
    const found = this.#nodes.get(inode)!;
    return (kind ?? found.kind) === found.kind && (links ?? found.links) === found.links;
  }

  /** `result` was seen of this inode. */
  #seen(inode: number, result: Result = {}): NameSpace | undefined {
    if (!this.#agrees(inode, result)) return undefined;
    const seen = result.inode ?? inode;
    if (seen === inode) return this;
    // Nobody knew its number, and nothing else has this one.
    return inode < 0 && !this.#nodes.has(seen) ? this.#bind(inode, seen) : undefined;
  }

  #bind(unseen: number, inode: number): NameSpace {
    const nodes = new Map<number, Node>();
    for (const [number, { kind, links, parent, entries }] of this.#nodes) {
      const bound = new Map<string, number>();
      for (const [name, entry] of entries) bound.set(name, entry === unseen ? inode : entry);
      const above = parent === unseen ? inode : parent;
      nodes.set(number === unseen ? inode : number, node(kind, links, above, bound));
    }
    return new NameSpace(nodes);
  }

  // ---------------------------------------------------------------- changes

  #make(
    dir: number,
    name: string,
    kind: 'file' | 'dir',
    result: Result | undefined,
    unseen: number,
  ): NameSpace | undefined {
    const inode = result?.inode ?? unseen;
    if (this.#nodes.has(inode)) return undefined;
    const nodes = new Map(this.#nodes);
    nodes.set(inode, node(kind, kind === 'dir' ? 2 : 1, kind === 'dir' ? dir : 0, none));
    setEntry(nodes, dir, name, inode);
    const next = new NameSpace(nodes);
    return result === undefined || next.#agrees(inode, result) ? next : undefined;
  }

  #take(dir: number, name: string): NameSpace {
    const nodes = new Map(this.#nodes);
    const inode = this.#entry(dir, name)!;
    setEntry(nodes, dir, name, undefined);
    dropName(nodes, inode);
    return new NameSpace(nodes);
  }

  #link(
    { inode, dir, name }: Operation & { op: 'link' },
    result: Result | undefined,
  ): NameSpace | undefined {
    const nodes = new Map(this.#nodes);
    setEntry(nodes, dir, name, inode);
    nodes.set(inode, node('file', nodes.get(inode)!.links + 1, 0, none));
    const next = new NameSpace(nodes);
    return next.#seen(inode, result) === next ? next : undefined;
  }

  #rename({ dir, name, toDir, toName, flags }: Operation & { op: 'rename' }): NameSpace {
    const moved = this.#entry(dir, name)!;
    const there = this.#entry(toDir, toName);
    if (moved === there) return this;
    const nodes = new Map(this.#nodes);
    setEntry(nodes, dir, name, flags === EXCHANGE ? there : undefined);
    setEntry(nodes, toDir, toName, moved);
    setParent(nodes, moved, toDir);
    if (flags === EXCHANGE) setParent(nodes, there!, dir);
    else if (there !== undefined) dropName(nodes, there);
    return new NameSpace(nodes);
  }
}

/** A name is put, replaced, or (undefined) taken away; the directory's link count follows. */
function setEntry(
  nodes: Map<number, Node>,
  dir: number,
  name: string,
  inode: number | undefined,
): void {
  const entries = new Map(nodes.get(dir)!.entries);
  if (inode === undefined) entries.delete(name);
  else entries.set(name, inode);
  let links = 2;
  for (const entry of entries.values()) if (nodes.get(entry)!.kind === 'dir') links++;
  nodes.set(dir, node('dir', links, nodes.get(dir)!.parent, entries));
}

function setParent(nodes: Map<number, Node>, inode: number, parent: number): void {
  const { kind, links, entries } = nodes.get(inode)!;
  if (kind === 'dir') nodes.set(inode, node(kind, links, parent, entries));
}

/** One name less: a directory goes, a file with its last one. */
function dropName(nodes: Map<number, Node>, inode: number): void {
  const { kind, links } = nodes.get(inode)!;
  if (kind === 'dir' || links === 1) nodes.delete(inode);
  else nodes.set(inode, node('file', links - 1, 0, none));
}
