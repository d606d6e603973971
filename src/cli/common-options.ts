/** Options that several commands have, declared once. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { defaultManagerUrl } from '../common/manager-api.js';
import { ManagerClient } from '../common/manager-client.js';
import { managerUrl, transport } from './option-values.js';
import { bindSetting } from './settings.js';

export function addManagerOption(command: Command): Command {
  const option = new Option('--manager <url>', 'URL of the manager')
    .argParser(managerUrl('--manager'))
    .default(defaultManagerUrl);
  command.addOption(option);
  bindSetting(command, option, 'manager_url');
  return command;
}

export function addTransportOption(command: Command): Command {
  const option = new Option('--transport <name>', 'auto or tcp')
    .argParser(transport('--transport'))
    .default('auto');
  command.addOption(option);
  bindSetting(command, option, 'transport');
  return command;
}

export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print JSON');
}

export function addExample(command: Command, ...lines: string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

export function clientOf(options: { manager: string }): ManagerClient {
  return new ManagerClient(options.manager);
}
