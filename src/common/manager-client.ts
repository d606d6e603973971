/**
 * Client of the manager's HTTP interface, for servers, mounts and the command line. Every call has
 * a deadline and rejects with a SealfsError whose message a person can act on: UNAVAILABLE when
 * the manager cannot be reached or does not answer, otherwise the code that the manager gave.
 */
import type { z } from 'zod';
import type { ErrorCode } from './errors.js';
import { SealfsError, UsageError } from './errors.js';
import type {
  ClusterMap,
  ClusterStatus,
  EpochReply,
  HeartbeatRequest,
  RegisterReply,
  RegisterRequest,
  ServerStatus,
  Volume,
} from './manager-api.js';
import {
  clusterMapSchema,
  clusterStatusSchema,
  describeIssues,
  epochReplySchema,
  errorReplySchema,
  httpStatusOfCode,
  registerReplySchema,
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
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new UsageError(problem);
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
  heartbeat(serverId: string, request: HeartbeatRequest): Promise<EpochReply> {
    const path = `/v1/servers/${encodeURIComponent(serverId)}/heartbeat`;
    return this.call('POST', path, epochReplySchema, request);
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
      const response = await fetch(`${this.url}/v1/watch?epoch=${epoch}`, { signal: end });
      if (!response.ok) throw await this.errorOf(response);
      if (response.body === null) return;
      const decoder = new TextDecoder();
      let rest = '';
      for await (const bytes of response.body as AsyncIterable<Uint8Array>) {
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
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.url + path, {
        method,
        signal: AbortSignal.timeout(this.timeoutMs),
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      if (!response.ok) throw await this.errorOf(response);
      text = await response.text();
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

  private async errorOf(response: Response): Promise<SealfsError> {
    const text = await response.text();
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch (error) {
      return this.notAManager(error);
    }
    const reply = errorReplySchema.safeParse(answer);
    if (!reply.success) return this.notAManager(`HTTP status ${response.status}`);
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

/** fetch wraps what went wrong as a cause, and an AggregateError where a name has two addresses. */
function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`;
  const cause = error.cause instanceof Error ? error.cause : error;
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'unknown host';
  if (cause.message === '') return code;
  return cause.message;
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
