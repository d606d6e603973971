/**
 * Every call on every kind of path, and every pair of paths: which error comes first where several
 * would fit, and what a call that succeeds has changed. The scripts are tables; `try` of
 * native/posix/fixture_calls.cc puts right what each case has done.
 */
import { places } from './places.js';
import type { Places } from './places.js';

const LONGEST = '{n*255}';
const TOO_LONG = '{n*256}';

/** Where path resolution ends, or fails: by root. */
const paths = `
  missing missing/ missing/x missing/${TOO_LONG} file file/ file/. file/x file/${TOO_LONG} name2
  other dir dir/ dir/. dir/file dir/missing dir/sub dir/sub/deep dir/../file empty empty/ .
  tofile tofile/ todir todir/ todir/sub todir/file dangling dangling/ dangling/x loop loop/ loop/x
  fifo fifo/ fifo/x ${LONGEST} ${TOO_LONG} dir/${LONGEST} dir/${TOO_LONG} ""
`;

/** And by a user to whom some of it is forbidden. */
const guarded = `
  file mine missing dir/file dir/missing dir/missing/x secret secret/ secret/file secret/missing
  secret/sub secret/${TOO_LONG} yours/file yours/root yours/missing yours/sub sticky/mine
  sticky/root sticky/dir sticky/missing other
`;

/** PATH stands for the path. */
const askingCalls = `
  opens PATH O_RDONLY|O_NONBLOCK
  opens PATH O_WRONLY|O_NONBLOCK
  opens PATH O_RDONLY|O_DIRECTORY
  opens PATH O_RDWR|O_DIRECTORY
  opens PATH O_RDONLY|O_NOFOLLOW|O_NONBLOCK
  opens PATH O_RDONLY|O_NOFOLLOW|O_DIRECTORY
  opens PATH O_PATH
  opens PATH O_PATH|O_NOFOLLOW
  opens PATH O_PATH|O_DIRECTORY
  opens PATH O_RDONLY|O_NOATIME|O_NONBLOCK
  opens PATH O_RDWR|O_TMPFILE 0600
  opens PATH O_RDONLY|O_TMPFILE 0600
  readlink PATH
  stat PATH type,mode,nlink
  lstat PATH type,mode,nlink
  statx PATH AT_SYMLINK_NOFOLLOW
  statfs PATH
  access PATH F_OK
  access PATH R_OK|W_OK
  access PATH X_OK
  access PATH W_OK AT_SYMLINK_NOFOLLOW
  entries PATH
  getxattr PATH user.none
  listxattr PATH
`;

const changingCalls = `
  opens PATH O_RDWR|O_TRUNC|O_NONBLOCK
  opens PATH O_RDONLY|O_CREAT|O_NONBLOCK 0640
  opens PATH O_RDWR|O_CREAT|O_EXCL|O_NONBLOCK 0640
  opens PATH O_WRONLY|O_CREAT|O_TRUNC|O_NONBLOCK 0640
  opens PATH O_RDONLY|O_CREAT|O_NOFOLLOW|O_NONBLOCK 0640
  opens PATH O_RDONLY|O_CREAT|O_DIRECTORY 0640
  mkdir PATH 0750
  rmdir PATH
  unlink PATH
  mknod PATH file 0640
  mknod PATH fifo 0640
  mknod PATH char 0640 1 3
  mknod PATH directory 0640
  symlink target PATH
  chmod PATH 0711
  chown PATH 1000 1001
  chown PATH -1 -1
  lchown PATH 1000 1001
  truncate PATH 3
  truncate PATH -1
  utimens PATH 1 2
  utimens PATH now now AT_SYMLINK_NOFOLLOW
  utimens PATH omit omit
`;

/** Ends of renames and links: by root. */
const ends = `
  missing missing/ missing/x file file/ name2 other dir dir/. dir/.. . dir/file dir/sub
  dir/sub/deep dir/sub/missing empty empty/ tofile todir todir/ dangling fifo yours/sub
  ${TOO_LONG} ""
`;

const guardedEnds = `
  missing file mine dir/file dir/missing secret/file secret/sub secret/missing yours/file yours/root
  yours/sub yours/missing sticky/mine sticky/root sticky/dir sticky/missing
`;

/** With every how many of the pairs, unless SEALFS_POSIX_FULL asks for all. */
const twoPathCalls: [string, number][] = [
  ['rename', 1],
  ['rename|EXCHANGE', 1],
  ['link', 1],
  ['rename|NOREPLACE', 3],
  ['link|FOLLOW', 3],
];

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

function lines(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim());
}

/** Paths that a call changes for all cases that follow: not in this table. */
function isHarmful(call: string, path: string): boolean {
  return path === '.' && /^(chmod|chown|lchown) /.test(call);
}

function onEach(paths: string, prefix: string): string {
  const each = (calls: string, before: string): string[] =>
    lines(calls).flatMap((call) =>
      words(paths)
        .filter((path) => !isHarmful(call, path))
        .map((path) => `${before}${prefix}${call.replace('PATH', path)}`),
    );
  const all = [...each(askingCalls, ''), 'fixture', ...each(changingCalls, 'try ')];
  return ['fixture', ...all, 'fixture'].join('\n');
}

function onPairs(paths: string, prefix: string): string {
  const all = words(paths);
  const pairs = all.flatMap((from) => all.map((to) => `${from} ${to}`));
  const full = process.env['SEALFS_POSIX_FULL'] !== undefined;
  const script = twoPathCalls.flatMap(([call, every]) => {
    const [name, option] = call.split('|');
    const flag =
      option === undefined ? '' : name === 'link' ? ' AT_SYMLINK_FOLLOW' : ` RENAME_${option}`;
    return pairs
      .filter((_, i) => full || i % every === 0)
      .map((pair) => `try ${prefix}${name} ${pair}${flag}`);
  });
  return ['fixture', ...script, 'fixture'].join('\n');
}

describe('errors, in the order in which Linux finds them', function () {
  this.timeout(60_000);
  let ground: Places;

  before(async function () {
    this.timeout(120_000);
    ground = await places();
  });

  it('of calls on one path, by root', async () => {
    await ground.compare(onEach(paths, ''));
  });

  it('of calls on one path, by a user', async () => {
    await ground.compare(onEach(guarded, 'as 1000:1000 '));
  });

  it('of rename and link, by root', async () => {
    await ground.compare(onPairs(ends, ''));
  });

  it('of rename and link, by a user', async () => {
    await ground.compare(onPairs(guardedEnds, 'as 1000:1000 '));
  });
});
