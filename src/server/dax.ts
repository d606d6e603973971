/**
 * Whether a directory lies on persistent memory that is mapped without the page cache (DAX): there
 * making a commit power-safe costs next to nothing, so it becomes the default. Source: mount(8) and
 * proc_pid_mountinfo(5): the option `dax` or `dax=always` of the file system.
 */
import { readFileSync, realpathSync } from 'node:fs';

const OCTAL_ESCAPE = /\\([0-7]{3})/g;

/** `mountinfo` is that file's text; the innermost mount that holds `path` decides. */
export function mountIsDax(mountinfo: string, path: string): boolean {
  let longest = -1;
  let dax = false;
  for (const line of mountinfo.split('\n')) {
    // id parent major:minor root mount-point options … - type source super-options
    const [before, after] = line.split(' - ');
    if (before === undefined || after === undefined) continue;
    const fields = before.split(' ');
    const point = (fields[4] ?? '').replace(OCTAL_ESCAPE, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const inside = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    if (!inside || point.length < longest) continue;
    longest = point.length;
    const options = `${fields[5] ?? ''},${after.split(' ')[2] ?? ''}`.split(',');
    dax = options.includes('dax') || options.includes('dax=always');
  }
  return dax;
}

export function isDax(path: string): boolean {
  return mountIsDax(readFileSync('/proc/self/mountinfo', 'utf8'), realpathSync(path));
}
