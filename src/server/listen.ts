/** Where a target listens: on all transports that it has, on the same port if that can be. */
import { SealfsError } from '../common/errors.js';
import type { PlannedKind } from '../transport/select.js';
import type { Transport } from '../transport/transport.js';

export interface Listening {
  /** In the order of the parts. */
  endpoints: { kind: PlannedKind; port: number }[];
  /** Why there is no endpoint of the preferred transport; '' when there is. */
  failure: string;
}

export interface ListeningPart {
  kind: PlannedKind;
  transport: Pick<Transport, 'listen'>;
}

/**
 * tcp first, since its port is what people name; the other takes the same number, or any free one
 * where the two share one space of ports (iWARP). Rejects with SealfsError BUSY when tcp, or the
 * only one, cannot listen.
 */
export async function listenOn(
  parts: readonly ListeningPart[],
  host: string,
  port: number,
): Promise<Listening> {
  const endpoints: Listening['endpoints'] = [];
  const last = parts.at(-1)!;
  const bound = await mustListen(last, host, port);
  endpoints.push({ kind: last.kind, port: bound });
  let failure = '';
  for (const part of parts.slice(0, -1)) {
    try {
      const again = await listenNear(part.transport, host, bound);
      endpoints.unshift({ kind: part.kind, port: again });
    } catch (error) {
      failure = `${part.kind} cannot listen on ${host}: ${textOf(error)}`;
    }
  }
  return { endpoints, failure };
}

async function listenNear(
  transport: Pick<Transport, 'listen'>,
  host: string,
  port: number,
): Promise<number> {
  try {
    return await transport.listen(host, port);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return transport.listen(host, 0);
  }
}

async function mustListen(part: ListeningPart, host: string, port: number): Promise<number> {
  try {
    return await part.transport.listen(host, port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'the port is in use' : textOf(error);
    throw new SealfsError('BUSY', `cannot listen on ${host}:${port}: ${why}`, { cause: error });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
