/**
 * A writer for kill tests, run as its own process: creates and writes files below a mount for as
 * long as it is told, and appends a line to a local journal after each acknowledged step. What the
 * journal names must be on the mount afterwards, byte for byte.
 *
 * usage: node load.js MOUNT JOURNAL TAG SECONDS; ends earlier once JOURNAL.stop exists
 */
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Content of file number `index`: sizes from inline to several chunks. */
export function loadContent(tag: string, index: number): Buffer {
  const sizes = [0, 100, 3901, 9000, 70_000, 1_300_000];
  const size = sizes[index % sizes.length]!;
  const data = Buffer.alloc(size);
  let state = (index * 2654435761 + tag.length) >>> 0;
  for (let i = 0; i < size; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data.writeUInt32LE(state, Math.min(i, Math.max(0, size - 4)));
    if (size < 4) break;
  }
  return data;
}

export function loadPath(mount: string, tag: string, index: number): string {
  return join(mount, `load-${tag}`, `d${index % 7}`, `f${index}`);
}

/** Checks every acknowledged file of a journal; returns how many there were. */
export function verifyLoad(mount: string, journal: string, tag: string): number {
  if (!existsSync(journal)) return 0;
  const lines = readFileSync(journal, 'utf8').split('\n').filter(Boolean);
  for (const line of lines) {
    const index = Number(line);
    const have = readFileSync(loadPath(mount, tag, index));
    if (!have.equals(loadContent(tag, index))) {
      throw new Error(`file ${index} of load ${tag} differs: ${have.length} bytes`);
    }
  }
  return lines.length;
}

/** After each file: whoever verifies a load reads all of it, and others need the cores as well. */
const PAUSE_MS = 10;

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
}

function main(mount: string, journal: string, tag: string, seconds: number): void {
  for (let d = 0; d < 7; d++) mkdirSync(join(mount, `load-${tag}`, `d${d}`), { recursive: true });
  const end = Date.now() + seconds * 1000;
  for (let index = 0; Date.now() < end && !existsSync(`${journal}.stop`); index++) {
    const data = loadContent(tag, index);
    if (index % 2 === 0) {
      writeFileSync(loadPath(mount, tag, index), data);
    } else {
      const fd = openSync(loadPath(mount, tag, index), 'wx');
      for (let at = 0; at < data.length; at += 47_008) {
        writeSync(fd, data, at, Math.min(47_008, data.length - at), at);
      }
      closeSync(fd);
    }
    appendFileSync(journal, `${index}\n`);
    pause();
  }
}

const [, script, mount, journal, tag, seconds] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
  main(mount!, journal!, tag!, Number(seconds));
}
