/**
 * The model file system that simulations compare with: the same operations on plain objects, each
 * answering what POSIX says, as a value or an errno name.
 */
const NOREPLACE = 1;
const EXCHANGE = 2;

export type Outcome = { error: string } | { value: unknown };

interface ModelFile {
  kind: 'file';
  data: Uint8Array;
  mode: number;
  links: number;
}
interface ModelLink {
  kind: 'symlink';
  target: string;
}
interface ModelDir {
  kind: 'dir';
  entries: Map<string, ModelNode>;
  mode: number;
}
type ModelNode = ModelFile | ModelLink | ModelDir;

class ModelError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function fail(code: string): never {
  throw new ModelError(code);
}

/** Whether a directory is `node` or below it. */
function isBelow(dir: ModelDir, node: ModelNode): boolean {
  if (node.kind !== 'dir') return false;
  return dir === node || [...node.entries.values()].some((entry) => isBelow(dir, entry));
}

export class ModelFileSystem {
  readonly #root: ModelDir = { kind: 'dir', entries: new Map(), mode: 0o755 };

  /** Runs an operation; an errno becomes an outcome. */
  outcome(operation: () => unknown): Outcome {
    try {
      return { value: operation() };
    } catch (error) {
      if (error instanceof ModelError) return { error: error.code };
      throw error;
    }
  }

  #dirOf(path: string): { dir: ModelDir; name: string } {
    const parts = path.split('/').filter(Boolean);
    const name = parts.pop()!;
    let dir = this.#root;
    for (const part of parts) {
      const next = dir.entries.get(part);
      if (next === undefined) fail('ENOENT');
      if (next.kind !== 'dir') fail('ENOTDIR');
      dir = next;
    }
    return { dir, name };
  }

  #node(path: string): ModelNode {
    if (path === '/') return this.#root;
    const { dir, name } = this.#dirOf(path);
    return dir.entries.get(name) ?? fail('ENOENT');
  }

  #file(path: string): ModelFile {
    const node = this.#node(path);
    if (node.kind === 'dir') fail('EISDIR');
    if (node.kind === 'symlink') fail('ELOOP');
    return node;
  }

  mkdir(path: string): void {
    const { dir, name } = this.#dirOf(path);
    if (dir.entries.has(name)) fail('EEXIST');
    dir.entries.set(name, { kind: 'dir', entries: new Map(), mode: 0o755 });
  }

  rmdir(path: string): void {
    const { dir, name } = this.#dirOf(path);
    const node = dir.entries.get(name) ?? fail('ENOENT');
    if (node.kind !== 'dir') fail('ENOTDIR');
    if (node.entries.size > 0) fail('ENOTEMPTY');
    dir.entries.delete(name);
  }

  /** open(O_CREAT | O_EXCL), close. */
  create(path: string): void {
    const { dir, name } = this.#dirOf(path);
    if (dir.entries.has(name)) fail('EEXIST');
    dir.entries.set(name, { kind: 'file', data: new Uint8Array(0), mode: 0o644, links: 1 });
  }

  unlink(path: string): void {
    const { dir, name } = this.#dirOf(path);
    const node = dir.entries.get(name) ?? fail('ENOENT');
    if (node.kind === 'dir') fail('EISDIR');
    if (node.kind === 'file') node.links--;
    dir.entries.delete(name);
  }

  symlink(target: string, path: string): void {
    const { dir, name } = this.#dirOf(path);
    if (dir.entries.has(name)) fail('EEXIST');
    dir.entries.set(name, { kind: 'symlink', target });
  }

  readlink(path: string): string {
    const node = this.#node(path);
    if (node.kind !== 'symlink') fail('EINVAL');
    return node.target;
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2. Errors in Linux's order. */
  rename(from: string, to: string, flags = 0): void {
    const old = this.#dirOf(from);
    const now = this.#dirOf(to);
    const node = old.dir.entries.get(old.name) ?? fail('ENOENT');
    const victim = now.dir.entries.get(now.name);
    if (flags === NOREPLACE && victim !== undefined) fail('EEXIST');
    if (flags === EXCHANGE && victim === undefined) fail('ENOENT');
    if (isBelow(now.dir, node)) fail('EINVAL');
    if (flags === EXCHANGE && victim !== undefined) {
      if (isBelow(old.dir, victim)) fail('EINVAL');
      old.dir.entries.set(old.name, victim);
      now.dir.entries.set(now.name, node);
      return;
    }
    if (victim === node) return;
    if (victim?.kind === 'dir') {
      if (node.kind !== 'dir') fail('EISDIR');
      if (victim.entries.size > 0) fail('ENOTEMPTY');
    } else if (victim !== undefined && node.kind === 'dir') {
      fail('ENOTDIR');
    }
    if (victim?.kind === 'file') victim.links--;
    old.dir.entries.delete(old.name);
    now.dir.entries.set(now.name, node);
  }

  link(from: string, to: string): void {
    const file = this.#node(from);
    if (file.kind !== 'file') fail('EPERM');
    const { dir, name } = this.#dirOf(to);
    if (dir.entries.has(name)) fail('EEXIST');
    dir.entries.set(name, file);
    file.links++;
  }

  /** Two names of one file. */
  isSame(path: string, other: string): boolean {
    return this.#node(path) === this.#node(other);
  }

  readdir(path: string): string[] {
    const node = this.#node(path);
    if (node.kind !== 'dir') fail('ENOTDIR');
    return [...node.entries.keys()].sort();
  }

  write(path: string, offset: number, data: Uint8Array): number {
    const file = this.#file(path);
    if (offset + data.length > file.data.length) {
      const grown = new Uint8Array(offset + data.length);
      grown.set(file.data);
      file.data = grown;
    }
    file.data.set(data, offset);
    return data.length;
  }

  append(path: string, data: Uint8Array): number {
    return this.write(path, this.#file(path).data.length, data);
  }

  truncate(path: string, size: number): void {
    const file = this.#file(path);
    const cut = new Uint8Array(size);
    cut.set(file.data.subarray(0, size));
    file.data = cut;
  }

  /** fallocate: modes 0, KEEP_SIZE 1, PUNCH_HOLE 2, ZERO_RANGE 16. */
  allocate(path: string, mode: number, offset: number, length: number): void {
    const file = this.#file(path);
    if (length === 0) fail('EINVAL');
    const end = offset + length;
    if ((mode & (2 | 16)) !== 0) file.data.fill(0, offset, end);
    if ((mode & 1) === 0 && end > file.data.length) this.truncate(path, end);
  }

  /** copy_file_range: how many bytes there were. */
  copy(from: string, offset: number, to: string, at: number, length: number): number {
    const { data } = this.#file(from);
    this.#file(to);
    const part = data.slice(offset, offset + length);
    if (part.length > 0) this.write(to, at, part);
    return part.length;
  }

  read(path: string): Uint8Array {
    return this.#file(path).data.slice();
  }

  chmod(path: string, mode: number): void {
    const node = this.#node(path);
    if (node.kind !== 'symlink') node.mode = mode;
  }

  /** Type, size, permission bits, links; what a stat must agree on. */
  stat(path: string): { kind: string; size: number; mode: number; links: number } {
    const node = this.#node(path);
    if (node.kind === 'file') {
      return { kind: 'file', size: node.data.length, mode: node.mode, links: node.links };
    }
    if (node.kind === 'symlink') {
      return { kind: 'symlink', size: node.target.length, mode: 0o777, links: 1 };
    }
    const subdirs = [...node.entries.values()].filter((entry) => entry.kind === 'dir').length;
    return { kind: 'dir', size: 0, mode: node.mode, links: 2 + subdirs };
  }

  /** Every path below the root, for a full comparison. */
  *paths(dir: ModelDir = this.#root, prefix = ''): Generator<string> {
    for (const [name, node] of dir.entries) {
      yield `${prefix}/${name}`;
      if (node.kind === 'dir') yield* this.paths(node, `${prefix}/${name}`);
    }
  }
}
