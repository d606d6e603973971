/** The tcp transport: `EngineTransport` over the socket engine (native/socket). */
import type { NativeArena } from '../native/arena.js';
import { createSocketEngine } from '../native/engine.js';
import type { Reactor } from '../native/reactor.js';
import { EngineTransport, type EngineTransportOptions } from './engine-transport.js';

export type TcpOptions = EngineTransportOptions;

export class TcpTransport extends EngineTransport {
  readonly kind = 'tcp';

  /**
   * The arena must have a receive area for this transport. Throws SealfsError UNSUPPORTED without
   * the addon.
   */
  constructor(arena: NativeArena, reactor: Reactor, options: TcpOptions = {}) {
    super(createSocketEngine(arena.handle), arena, reactor, options);
  }
}
