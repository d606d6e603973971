/** The values of `--transport` and what goes with them, apart from select.ts so that a command line loads no engine. */

/**
 * auto: rdma where it can be had, tcp otherwise and beside it. rdma, tcp: that alone; without an
 * RDMA device `rdma` fails at once.
 */
export const transportChoices = ['auto', 'tcp', 'rdma'] as const;
export type TransportChoice = (typeof transportChoices)[number];

/** A client's arena, unless it asks for another. */
export const clientArena = { messageSlots: 512, bulkSlots: 64 } as const;
