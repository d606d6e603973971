/**
 * Joins options with the configuration: where an option was not given on the command line, its
 * value comes from its SEALFS_* variable or the TOML file, through the option's own parser.
 */
import type { Command, Option } from 'commander';
import type { Config, SettingKey } from '../common/config.js';
import { loadConfig, settings } from '../common/config.js';
import { UsageError } from '../common/errors.js';

type Parser = (text: string, previous: unknown) => unknown;

const bindings = new WeakMap<Command, Map<Option, SettingKey>>();

/** Says that `option` of `command` is the setting `key`; its help names the variable. */
export function bindSetting(command: Command, option: Option, key: SettingKey): void {
  const { env } = settings.find((row) => row.key === key)!;
  option.description += ` (or ${env})`;
  const bound = bindings.get(command) ?? new Map<Option, SettingKey>();
  bound.set(option, key);
  bindings.set(command, bound);
}

/** Called before a command's action. `configPath`: --config, if it was given. */
export function applySettings(command: Command, configPath: string | undefined): void {
  const config = loadConfig(configPath);
  for (const [option, key] of bindings.get(command) ?? []) {
    const source = command.getOptionValueSource(option.attributeName());
    if (source !== undefined && source !== 'default') continue;
    applyOne(command, option, key, config);
  }
}

function applyOne(command: Command, option: Option, key: SettingKey, config: Config): void {
  const configured = config.value(key);
  if (configured === undefined) return;
  let value: unknown;
  for (const text of configured.values) {
    try {
      value = option.parseArg === undefined ? text : (option.parseArg as Parser)(text, value);
    } catch (error) {
      // The parser's message begins with the option's name; here the value stood elsewhere.
      if (!(error instanceof UsageError)) throw error;
      const rest = error.message.replace(/^--[a-z-]+: /, '');
      throw new UsageError(`${configured.source}: ${rest}`, { cause: error });
    }
  }
  command.setOptionValueWithSource(option.attributeName(), value, 'config');
}
