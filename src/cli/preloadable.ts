/**
 * Whether a program is one that a library can be preloaded into, told from its file before it is executed: ld.so(8) does
 * it, which statically linked programs do without, and which refuses where a program gains rights by being executed.
 */
import { accessSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const HEAD_BYTES = 4096;
/** inode(7) */
const SET_ID_BITS = 0o6000;

/** elf(5) */
const ELF64 = 2;
const PROGRAM_HEADERS_OFFSET = 32;
const PROGRAM_HEADER_BYTES = 54;
const PROGRAM_HEADER_COUNT = 56;
const PT_INTERP = 3;

/** From a file's first bytes: an ELF program that asks for no loader, so that nothing can be preloaded. */
export function isStaticProgram(head: Buffer): boolean {
  if (head.length < 64 || head.toString('latin1', 0, 4) !== '\x7fELF' || head[4] !== ELF64) {
    return false;
  }
  const first = Number(head.readBigUInt64LE(PROGRAM_HEADERS_OFFSET));
  const size = head.readUInt16LE(PROGRAM_HEADER_BYTES);
  const count = head.readUInt16LE(PROGRAM_HEADER_COUNT);
  for (let i = 0; i < count; i++) {
    const at = first + i * size;
    if (at + 4 > head.length) return false;
    if (head.readUInt32LE(at) === PT_INTERP) return false;
  }
  return true;
}

/** The file that a command's name means, as the shell finds it. */
export function pathOf(program: string): string | undefined {
  if (program.includes('/')) return program;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** First bytes and mode of a file; undefined: it cannot be read. */
function look(path: string): { head: Buffer; mode: number } | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    return {
      head: head.subarray(0, readSync(fd, head, 0, HEAD_BYTES, 0)),
      mode: fstatSync(fd).mode,
    };
  } finally {
    closeSync(fd);
  }
}

/** The program that a script's first line names, execve(2). */
function interpreterOf(head: Buffer): string | undefined {
  return /^#![ \t]*([^\s]+)/.exec(head.toString('latin1', 0, 256))?.[1];
}

/** Why nothing can be preloaded into a program; '': nothing is known against it. Of a script: into its interpreter. */
export function reasonAgainstPreload(program: string): string {
  const path = pathOf(program);
  const file = path === undefined ? undefined : look(path);
  if (file === undefined) return '';
  const interpreter = interpreterOf(file.head);
  if (interpreter !== undefined) {
    const interpreted = look(interpreter);
    return interpreted !== undefined && isStaticProgram(interpreted.head)
      ? `its interpreter ${interpreter} is linked statically`
      : '';
  }
  if (isStaticProgram(file.head)) return 'it is linked statically';
  return (file.mode & SET_ID_BITS) === 0 ? '' : 'it is set-user-ID or set-group-ID';
}
