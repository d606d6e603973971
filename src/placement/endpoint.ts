/** Endpoints as servers register them: `tcp://host:port`, `rdma://host:port`, `sim://node:port`. */
import { UsageError } from '../common/errors.js';
import type { TransportKind } from '../transport/transport.js';

export interface Endpoint {
  transport: TransportKind;
  /** Without brackets. */
  host: string;
  port: number;
}

const PATTERN = /^(tcp|rdma|sim):\/\/(?:\[([0-9a-fA-F:.%\w]+)\]|([^\s/:[\]]+)):(\d{1,5})$/;

/** Throws UsageError that says what would be right. */
export function parseEndpoint(text: string): Endpoint {
  const match = PATTERN.exec(text);
  const port = Number(match?.[4]);
  if (match === null || port < 1 || port > 65535) {
    throw new UsageError(`'${text}' is not an endpoint: expected for example tcp://node1:4711`);
  }
  const transport = match[1] as Endpoint['transport'];
  return { transport, host: (match[2] ?? match[3])!, port };
}

export function formatEndpoint(endpoint: Endpoint): string {
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return `${endpoint.transport}://${host}:${endpoint.port}`;
}
