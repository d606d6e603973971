/**
 * Parsers of option values: each takes the option's name for its message and returns what commander
 * calls with the text. All throw UsageError that says what would be right.
 */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { resolve } from 'node:path';
import { UsageError } from '../common/errors.js';
import { normalizeManagerUrl } from '../common/manager-client.js';
import { parseSize } from '../common/sizes.js';

export interface Address {
  /** IPv6 without brackets. */
  host: string;
  port: number;
}

export function integer(name: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) {
      throw new UsageError(`${name}: '${text}' is not a whole number from ${min} to ${max}`);
    }
    return value;
  };
}

export function size(name: string, minBytes: number): (text: string) => number {
  return (text) => {
    const bytes = parseSize(text, name);
    if (bytes < minBytes) {
      throw new UsageError(
        `${name}: '${text}' is too small; at least ${minBytes} bytes are needed`,
      );
    }
    return bytes;
  };
}

export function choice<const Value extends string>(
  name: string,
  values: readonly Value[],
): (text: string) => Value {
  return (text) => {
    const found = values.find((value) => value === text);
    if (found === undefined) {
      throw new UsageError(`${name}: '${text}' is not one of ${values.join(', ')}`);
    }
    return found;
  };
}

/** HOST:PORT, [IPV6]:PORT or :PORT (every address). */
export function address(name: string): (text: string) => Address {
  return (text) => {
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s/]*)):([0-9]{1,5})$/.exec(text);
    const port = Number(match?.[3]);
    if (match === null || port > 65535) {
      throw new UsageError(
        `${name}: '${text}' is not an address; expected HOST:PORT such as 127.0.0.1:7300`,
      );
    }
    const host = match[1] ?? match[2]!;
    return { host: host === '' ? '0.0.0.0' : host, port };
  };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function managerUrl(name: string): (text: string) => string {
  return (text) => {
    try {
      return normalizeManagerUrl(text);
    } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`${name}: ${error.message}`);
      throw error;
    }
  };
}

/** An absolute path, so that it means the same in a child process. */
export function path(name: string): (text: string) => string {
  return (text) => {
    if (text === '') throw new UsageError(`${name}: the path is empty`);
    return resolve(text);
  };
}

/** A numeric address that this machine has, so that connections can leave from it. */
export function localAddress(
  name: string,
  interfaces = networkInterfaces,
): (text: string) => string {
  return (text) => {
    const plain = text.replace(/^\[(.*)\]$/, '$1');
    if (isIP(plain) === 0) {
      throw new UsageError(`${name}: '${text}' is not an IP address such as 10.0.0.1`);
    }
    const own = Object.values(interfaces()).flatMap((list) => list ?? []);
    // All of 127.0.0.0/8 is here, although only one is listed.
    if (plain.startsWith('127.') || own.some(({ address }) => address === plain)) return plain;
    const listed = own.map(({ address }) => address).filter((other) => !/^fe80:/.test(other));
    throw new UsageError(
      `${name}: ${plain} is not an address of this machine, which has ${listed.join(', ')}`,
    );
  };
}

/** One --data: a directory, file or block device, and how much of it to use. */
export interface DataPath {
  path: string;
  /** Absent: the server decides (a block device as it is, else what the server's default is). */
  sizeBytes?: number;
}

const minDataBytes = 16 * 1024 * 1024;

/** PATH[:SIZE]. A colon belongs to the path unless a number follows it to the end. */
export function dataPath(name: string): (text: string) => DataPath {
  return (text) => {
    const match = /^(.*):([0-9][^/]*)$/.exec(text);
    const plain = match === null ? text : match[1]!;
    const absolute = path(name)(plain);
    if (match === null) return { path: absolute };
    return { path: absolute, sizeBytes: size(name, minDataBytes)(match[2]!) };
  };
}
