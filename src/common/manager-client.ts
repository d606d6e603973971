/**
 * Client of the manager's HTTP interface, for servers, mounts and the command line. Every call has
 * a deadline and rejects with a SealfsError whose message a person can act on: UNAVAILABLE when
 * the manager cannot be reached or does not answer, otherwise the code that the manager gave.
 */
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import type { ErrorCode } from './errors.js';
import { SealfsError, UsageError } from './errors.js';
import type {
  ClusterMap,
  ClusterStatus,
  EpochReply,
  HeartbeatReply,
  HeartbeatRequest,
  RegisterReply,
  RegisterRequest,
  ScrubStatus,
  ServerStatus,
  Volume,
} from './manager-api.js';
import {
  clusterMapSchema,
  clusterStatusSchema,
  describeIssues,
  epochReplySchema,
  errorReplySchema,
  heartbeatReplySchema,
  httpStatusOfCode,
  registerReplySchema,
  scrubStatusSchema,
  serverListSchema,
  volumeListSchema,
  volumeSchema,
  watchKeepaliveMs,
} from './manager-api.js';

export interface ManagerClientOptions {
  /** Of one call, from connect to the answer's last byte. Default 10 s. */
  timeoutMs?: number;
}

export interface WatchOptions {
  /** Ends the watch; its promise then resolves. */
  signal: AbortSignal;
  /** Called when the stream is lost (once each time) and when it is back. */
  onConnection?(connected: boolean, reason: string): void;
}

const defaultTimeoutMs = 10_000;
const backoffMinMs = 100;
const backoffMaxMs = 2000;
/** Longest line of a watch stream: a map of some 100,000 members. */
const maxLineChars = 64 * 1024 * 1024;

/** Accepts `http://host:port` and plain `host:port`; throws UsageError for anything else. */
export function normalizeManagerUrl(text: string): string {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const problem = `'${text}' is not a manager URL; expected http://HOST:PORT`;
  if (!URL.canParse(withScheme)) throw new UsageError(problem);
  const url = new URL(withScheme);
  if (url.protocol !== 'http:') throw new UsageError(problem);
  if (url.hostname === '' || (url.pathname !== '/' && url.pathname !== '')) {
    throw new UsageError(problem);
  }
  return url.origin;
}

export class ManagerClient {
  readonly url: string;
  private readonly timeoutMs: number;

  constructor(url: string, options: ManagerClientOptions = {}) {
    this.url = normalizeManagerUrl(url);
    this.timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  }

  register(request: RegisterRequest): Promise<RegisterReply> {
    return this.call('POST', '/v1/targets/register', registerReplySchema, request);
  }

  /** NOT_FOUND: the manager does not know this server (or one of its targets): register again. */
  heartbeat(serverId: string, request: HeartbeatRequest): Promise<HeartbeatReply> {
    const path = `/v1/servers/${encodeURIComponent(serverId)}/heartbeat`;
    return this.call('POST', path, heartbeatReplySchema, request);
  }

  scrub(): Promise<ScrubStatus> {
    return this.call('GET', '/v1/scrub', scrubStatusSchema);
  }

  /** A new pass, or another rate for the one under way. */
  startScrub(bytesPerSecond?: number): Promise<ScrubStatus> {
    const request = bytesPerSecond === undefined ? {} : { bytesPerSecond };
    return this.call('POST', '/v1/scrub/start', scrubStatusSchema, request);
  }

  stopScrub(): Promise<ScrubStatus> {
    return this.call('POST', '/v1/scrub/stop', scrubStatusSchema, {});
  }

  map(): Promise<ClusterMap> {
    return this.call('GET', '/v1/map', clusterMapSchema);
  }

  status(): Promise<ClusterStatus> {
    return this.call('GET', '/v1/status', clusterStatusSchema);
  }

  async servers(): Promise<ServerStatus[]> {
    return (await this.call('GET', '/v1/servers', serverListSchema)).servers;
  }

  async volumes(): Promise<Volume[]> {
    return (await this.call('GET', '/v1/volumes', volumeListSchema)).volumes;
  }

  volume(name: string): Promise<Volume> {
    return this.call('GET', `/v1/volumes/${encodeURIComponent(name)}`, volumeSchema);
  }

  createVolume(name: string): Promise<Volume> {
    return this.call('POST', '/v1/volumes', volumeSchema, { name });
  }

  /** Drops the manager's record only: the caller has emptied the volume and dropped its root. */
  deleteVolume(name: string): Promise<Volume> {
    return this.call('DELETE', `/v1/volumes/${encodeURIComponent(name)}`, volumeSchema);
  }

  /**
   * Calls `onMap` with every map newer than `afterEpoch`, in order of epochs (some may be skipped),
   * until the signal aborts. Rides out the manager's absence by reconnecting; never rejects.
   */
  async watch(
    afterEpoch: number,
    onMap: (map: ClusterMap) => void,
    options: WatchOptions,
  ): Promise<void> {
    let epoch = afterEpoch;
    let connected = true;
    let backoffMs = backoffMinMs;
    const receive = (line: EpochReply): void => {
      if (!connected) options.onConnection?.(true, 'connected again');
      connected = true;
      backoffMs = backoffMinMs;
      if (line.map === undefined || line.map.epoch <= epoch) return;
      epoch = line.map.epoch;
      onMap(line.map);
    };
    while (!options.signal.aborted) {
      let reason = 'the manager ended the watch stream';
      try {
        await this.watchOnce(epoch, receive, options.signal);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      if (options.signal.aborted) return;
      if (connected) options.onConnection?.(false, reason);
      connected = false;
      await sleep(backoffMs, options.signal);
      backoffMs = Math.min(backoffMaxMs, backoffMs * 2);
    }
  }

  private async watchOnce(
    epoch: number,
    receive: (line: EpochReply) => void,
    signal: AbortSignal,
  ): Promise<void> {
    // Silence for three keepalives means that the peer is gone without a reset.
    const watchdog = new AbortController();
    const expire = (): void => {
      watchdog.abort(new Error('the watch stream is silent'));
    };
    let timer = setTimeout(expire, watchKeepaliveMs * 3);
    const end = AbortSignal.any([signal, watchdog.signal]);
    try {
      const response = await send('GET', `${this.url}/v1/watch?epoch=${epoch}`, undefined, end);
      if (response.statusCode !== 200) throw this.errorOf(response, await readAll(response));
      const decoder = new TextDecoder();
      let rest = '';
      for await (const bytes of response as AsyncIterable<Uint8Array>) {
        clearTimeout(timer);
        timer = setTimeout(expire, watchKeepaliveMs * 3);
        const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > maxLineChars) throw new Error('a line of the watch stream is too long');
        for (const line of lines) {
          if (line !== '') receive(this.parse(epochReplySchema, JSON.parse(line)));
        }
      }
    } catch (error) {
      throw this.unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  private async call<Schema extends z.ZodType>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    schema: Schema,
    body?: unknown,
  ): Promise<z.infer<Schema>> {
    let text: string;
    try {
      const signal = AbortSignal.timeout(this.timeoutMs);
      const response = await send(method, this.url + path, body, signal);
      text = await readAll(response);
      if (Math.floor((response.statusCode ?? 0) / 100) !== 2) throw this.errorOf(response, text);
    } catch (error) {
      throw this.unreachable(error);
    }
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch (error) {
      throw this.notAManager(error);
    }
    return this.parse(schema, answer);
  }

  private parse<Schema extends z.ZodType>(schema: Schema, answer: unknown): z.infer<Schema> {
    const result = schema.safeParse(answer);
    if (!result.success) throw this.notAManager(describeIssues(result.error));
    return result.data;
  }

  private errorOf(response: IncomingMessage, text: string): SealfsError {
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch (error) {
      return this.notAManager(error);
    }
    const reply = errorReplySchema.safeParse(answer);
    if (!reply.success) return this.notAManager(`HTTP status ${response.statusCode}`);
    const { code, message } = reply.data.error;
    return new SealfsError(isErrorCode(code) ? code : 'FAILED', message);
  }

  private notAManager(cause: unknown): SealfsError {
    return new SealfsError('FAILED', `what answers at ${this.url} is not a sealfs manager`, {
      cause,
    });
  }

  private unreachable(error: unknown): SealfsError {
    if (error instanceof SealfsError) return error;
    return new SealfsError(
      'UNAVAILABLE',
      `the manager at ${this.url} cannot be reached: ${reasonOf(error, this.timeoutMs)}`,
      { cause: error },
    );
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(httpStatusOfCode, code);
}

/**
 * One request on a connection of its own: a call a second is no load, and a kept connection that
 * the manager's restart has closed would fail a call for nothing. Resolves with the answer's head.
 */
function send(
  method: string,
  url: string,
  body: unknown,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers =
      text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const request = httpRequest(url, { method, signal, agent: false, headers });
    request.once('response', resolve);
    // Later errors belong to the response, whose reader gets them; the listener stays for both.
    request.on('error', (error) => {
      reject(signal.aborted && signal.reason instanceof Error ? signal.reason : error);
    });
    request.end(text);
  });
}

async function readAll(response: IncomingMessage): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of response as AsyncIterable<Uint8Array>) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

/** A name with two addresses fails with an AggregateError, whose first error says why. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`;
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const cause = first instanceof Error ? first : error;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'unknown host';
  if (code === 'ABORT_ERR' || code === 'ECONNRESET') return 'connection lost';
  return cause.message === '' ? code : cause.message;
}

function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const finish = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, delayMs);
    signal.addEventListener('abort', finish);
  });
}
