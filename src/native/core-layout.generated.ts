/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const TurnState = {
  SIZE: 72,
  /** uint: JavaScript sets 1: another turn is needed though nothing may arrive */
  turnWanted: 0,
  /** uint */
  reserved: 4,
  /** double: CLOCK_REALTIME at the turn's start */
  wallSeconds: 8,
  /** double */
  wallNanoseconds: 16,
  /** double: calls of JavaScript */
  turns: 24,
  /** double: harvested in all */
  records: 32,
  /** double: harvests that found nothing */
  polls: 40,
  /** double: descriptors armed, processor given up */
  sleeps: 48,
  /** double: polling found something before the limit */
  spinHits: 56,
  /** double: the present limit with nothing outstanding */
  spinNanoseconds: 64,
} as const;
