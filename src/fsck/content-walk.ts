/** The second walk over a target's pairs: entries and chunks, each given to its checker. */
import type { CheckState } from './check-state.js';
import { ChunkWalk } from './chunk-walk.js';
import { EntryWalk } from './entry-walk.js';
import { KEY, ParsedKey } from './parsed-key.js';
import { END_OF_KEYS, START_OF_KEYS } from './store-reader.js';

/** After the first walk of all targets. */
export async function walkContents(state: CheckState, target: number): Promise<void> {
  const entries = new EntryWalk(state, target);
  const chunks = new ChunkWalk(state, target);
  const parsed = new ParsedKey();
  const { cluster } = state;
  let pairs = 0;
  await cluster.targets[target]!.reader.scan(START_OF_KEYS, END_OF_KEYS, (key, value) => {
    state.counted('entries and data', target, ++pairs);
    parsed.parse(key);
    const { kind, bucket, inode, number } = parsed;
    if (kind !== KEY.entry && kind !== KEY.chunk) return;
    // Extents are counted wherever their key stands; names only where they are looked for.
    if (kind === KEY.chunk) chunks.visit(key, bucket, inode, number, value);
    else if (cluster.holderOf(bucket) === target) entries.visit(inode, number, value);
  });
  await entries.finish();
}
