/** LD_PRELOAD, ld.so(8), as programs of ours set it. */

/** Its value for a program with `library`, which goes before what is there already. */
export function withPreload(library: string, before = process.env['LD_PRELOAD']): string {
  return before === undefined || before === '' ? library : `${library}:${before}`;
}
