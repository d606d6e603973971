/**
 * The configuration file and the SEALFS_* variables. Precedence: command line, then variables,
 * then the TOML file, then defaults. Every setting is one row of `settings`; the command line
 * (src/cli/settings.ts) asks for a row's value where an option was not given, and parses it with
 * the option's own parser, so a value means the same wherever it stands.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { UsageError } from './errors.js';
import { describeIssues } from './manager-api.js';

export interface Setting {
  /** Place in the TOML file: 'server.targets' is `targets` under `[server]`. */
  key: string;
  env: string;
  /** Lists are arrays in the file and comma-separated in the variable. */
  list?: true;
  meaning: string;
}

export const settings = [
  { key: 'manager_url', env: 'SEALFS_MANAGER', meaning: 'URL of the manager' },
  { key: 'transport', env: 'SEALFS_TRANSPORT', meaning: 'auto, tcp or rdma' },
  { key: 'bind', env: 'SEALFS_BIND', meaning: 'local address that connections leave from' },
  { key: 'manager.listen', env: 'SEALFS_MANAGER_LISTEN', meaning: 'HOST:PORT of its HTTP' },
  { key: 'manager.store', env: 'SEALFS_MANAGER_STORE', meaning: 'lmdb:DIR' },
  { key: 'server.meta_dir', env: 'SEALFS_SERVER_META_DIR', meaning: 'directory of metadata' },
  {
    key: 'server.data',
    env: 'SEALFS_SERVER_DATA',
    list: true,
    meaning: 'data files or devices, PATH[:SIZE] each',
  },
  { key: 'server.targets', env: 'SEALFS_SERVER_TARGETS', meaning: 'worker threads' },
  { key: 'server.listen', env: 'SEALFS_SERVER_LISTEN', meaning: 'HOST:PORT of its first target' },
  { key: 'server.durability', env: 'SEALFS_SERVER_DURABILITY', meaning: 'fsync or commit' },
  {
    key: 'server.reclaim_rate',
    env: 'SEALFS_SERVER_RECLAIM_RATE',
    meaning: 'bytes of removed files that a target gives back a second',
  },
  {
    key: 'server.split_entries',
    env: 'SEALFS_SERVER_SPLIT_ENTRIES',
    meaning: 'entries of a directory, or of a partition of it, that is split',
  },
  { key: 'mount.options', env: 'SEALFS_MOUNT_OPTIONS', meaning: 'as after -o' },
  { key: 'mount.log', env: 'SEALFS_MOUNT_LOG', meaning: 'log file of mounts' },
  { key: 'up.dir', env: 'SEALFS_UP_DIR', meaning: 'where the cluster keeps its state' },
  { key: 'up.servers', env: 'SEALFS_UP_SERVERS', meaning: 'number of servers' },
  { key: 'up.targets', env: 'SEALFS_UP_TARGETS', meaning: 'targets of each server' },
  { key: 'up.data_size', env: 'SEALFS_UP_DATA_SIZE', meaning: "size of a server's data file" },
] as const satisfies readonly Setting[];

export type SettingKey = (typeof settings)[number]['key'];

const text = z.string().min(1).optional();
const textOrNumber = z
  .union([z.string().min(1), z.int()], { error: 'expected a whole number or text' })
  .optional();

const configSchema = z.strictObject({
  manager_url: text,
  transport: text,
  bind: text,
  manager: z.strictObject({ listen: text, store: text }).optional(),
  server: z
    .strictObject({
      meta_dir: text,
      data: z.array(z.string().min(1)).optional(),
      targets: textOrNumber,
      listen: text,
      durability: text,
      reclaim_rate: textOrNumber,
      split_entries: textOrNumber,
    })
    .optional(),
  mount: z.strictObject({ options: text, log: text }).optional(),
  up: z
    .strictObject({
      dir: text,
      servers: textOrNumber,
      targets: textOrNumber,
      data_size: textOrNumber,
    })
    .optional(),
});

export type ConfigFile = z.infer<typeof configSchema>;

/** Where a value came from is said when the value is wrong. */
export interface ConfiguredValue {
  values: string[];
  source: string;
}

export class Config {
  private readonly file: ConfigFile;
  private readonly path: string | undefined;
  private readonly environment: NodeJS.ProcessEnv;

  constructor(file: ConfigFile, path: string | undefined, environment: NodeJS.ProcessEnv) {
    this.file = file;
    this.path = path;
    this.environment = environment;
  }

  /** The value of the variable, else of the file, else undefined. An empty variable is unset. */
  value(key: SettingKey): ConfiguredValue | undefined {
    const setting: Setting = settings.find((row) => row.key === key)!;
    const variable = this.environment[setting.env];
    if (variable !== undefined && variable !== '') {
      const values = setting.list === true ? variable.split(',') : [variable];
      return { values, source: setting.env };
    }
    const found = at(this.file, key) as string | number | string[] | undefined;
    if (found === undefined) return undefined;
    const values = Array.isArray(found) ? found.map(String) : [String(found)];
    return { values, source: `${key} in ${this.path ?? 'the configuration file'}` };
  }
}

function at(table: unknown, key: string): unknown {
  let found = table;
  for (const part of key.split('.')) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<string, unknown>)[part];
  }
  return found;
}

const systemPath = '/etc/sealfs/sealfs.toml';

/** `path` must exist if given; otherwise ./sealfs.toml, then /etc/sealfs/sealfs.toml, if there. */
export function loadConfig(
  path: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
  directory = process.cwd(),
): Config {
  const candidates = path === undefined ? [join(directory, 'sealfs.toml'), systemPath] : [path];
  for (const candidate of candidates) {
    const content = readIfThere(candidate, path !== undefined);
    if (content !== undefined) {
      return new Config(parseConfig(content, candidate), candidate, environment);
    }
  }
  return new Config({}, undefined, environment);
}

function readIfThere(path: string, required: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (!required && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined;
    throw new UsageError(`the configuration file ${path} cannot be read: ${code ?? 'unknown'}`, {
      cause: error,
    });
  }
}

export function parseConfig(content: string, path: string): ConfigFile {
  let table: unknown;
  try {
    table = parse(content);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    throw new UsageError(`${path} is not valid TOML: ${reason}`, { cause: error });
  }
  const result = configSchema.safeParse(table);
  if (result.success) return result.data;
  throw new UsageError(`${path}: ${describeIssues(result.error)}; see docs/manager.md`);
}
