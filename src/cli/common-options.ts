/** Options that several commands have, declared once. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { defaultManagerUrl } from '../common/manager-api.js';
import { ManagerClient } from '../common/manager-client.js';
import { transportChoices } from '../transport/choices.js';
import type { TransportChoice } from '../transport/choices.js';
import { choice, localAddress, managerUrl } from './option-values.js';
import { bindSetting } from './settings.js';

export function addManagerOption(command: Command): Command {
  const option = new Option('--manager <url>', 'URL of the manager')
    .argParser(managerUrl('--manager'))
    .default(defaultManagerUrl);
  command.addOption(option);
  bindSetting(command, option, 'manager_url');
  return command;
}

/** What `addTransportOption` leaves in the options. */
export interface TransportFlags {
  transport: TransportChoice;
  bind?: string;
}

export function addTransportOption(command: Command): Command {
  const transport = new Option(
    '--transport <name>',
    'auto: rdma where both ends have it, else tcp; rdma: nothing else; tcp',
  )
    .argParser(choice('--transport', transportChoices))
    .default('auto');
  const bind = new Option(
    '--bind <address>',
    'local IP address that connections leave from, on a host that has several',
  ).argParser(localAddress('--bind'));
  command.addOption(transport).addOption(bind);
  bindSetting(command, transport, 'transport');
  bindSetting(command, bind, 'bind');
  return command;
}

/** The same as arguments of a child process. */
export function transportArgs({ transport, bind }: TransportFlags): string[] {
  return ['--transport', transport, ...(bind === undefined ? [] : ['--bind', bind])];
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
