/** `sealfs volume create|list|show|delete`. */
import type { Command } from 'commander';
import { SealfsError } from '../common/errors.js';
import type { Volume } from '../common/manager-api.js';
import type { ManagerClient } from '../common/manager-client.js';
import { addExample, addJsonOption, addManagerOption, clientOf } from './common-options.js';
import { checkVolumeName } from './mount-command.js';
import { Progress, printJson, printLine, printTable } from './output.js';

interface VolumeOptions {
  manager: string;
  json?: true;
}

export function addVolume(program: Command): void {
  const volume = program.command('volume').description('create, list, show and delete volumes');
  addExample(volume, 'sealfs volume create scratch', 'sealfs volume list --json');
  addCreate(volume);
  addList(volume);
  addShow(volume);
  addDelete(volume);
}

function addCreate(volume: Command): void {
  const command = volume
    .command('create')
    .description('create an empty volume; the first one fixes which targets are members')
    .argument('<name>', 'letters, digits, . _ -; at most 64');
  addManagerOption(addJsonOption(command));
  addExample(command, 'sealfs volume create scratch --manager http://10.0.0.1:7300');
  command.action(async (name: string, options: VolumeOptions) => {
    checkVolumeName(name);
    const created = await clientOf(options).createVolume(name);
    if (options.json === true) printJson(created);
    else printLine(`volume ${created.name} created`);
  });
}

function addList(volume: Command): void {
  const command = volume.command('list').description('list the volumes');
  addManagerOption(addJsonOption(command));
  addExample(command, 'sealfs volume list --json');
  command.action(async (options: VolumeOptions) => {
    const volumes = await clientOf(options).volumes();
    if (options.json === true) printJson({ volumes });
    else printVolumes(volumes);
  });
}

function addShow(volume: Command): void {
  const command = volume
    .command('show')
    .description('show one volume')
    .argument('<name>', 'name of the volume');
  addManagerOption(addJsonOption(command));
  addExample(command, 'sealfs volume show scratch');
  command.action(async (name: string, options: VolumeOptions) => {
    checkVolumeName(name);
    const shown = await clientOf(options).volume(name);
    if (options.json === true) printJson(shown);
    else printVolumes([shown]);
  });
}

function printVolumes(volumes: readonly Volume[]): void {
  printTable(
    ['VOLUME', 'ID', 'ROOT INODE', 'CREATED'],
    volumes.map(({ name, id, rootInode, createdAt }) => [
      name,
      String(id),
      String(rootInode),
      createdAt,
    ]),
  );
}

function addDelete(volume: Command): void {
  const command = volume
    .command('delete')
    .description('delete an empty volume; with --recursive first everything in it')
    .argument('<name>', 'name of the volume')
    .option('--recursive', 'delete its files and directories first; there is no way back');
  addManagerOption(addJsonOption(command));
  addExample(command, 'sealfs volume delete scratch --recursive');
  command.action(async (name: string, options: VolumeOptions & { recursive?: true }) => {
    checkVolumeName(name);
    const client = clientOf(options);
    const found = await client.volume(name);
    await emptyVolume(client, found, options.recursive === true);
    await client.deleteVolume(name);
    if (options.json === true) printJson(found);
    else printLine(`volume ${name} deleted`);
  });
}

/** Leaves the volume without a root; BUSY if there is something in it and `recursive` is false. */
async function emptyVolume(
  manager: ManagerClient,
  volume: Volume,
  recursive: boolean,
): Promise<void> {
  const { openVolume } = await import('../client/files.js');
  const files = await openVolume({ managerUrl: manager.url, volume });
  const progress = new Progress();
  try {
    if (recursive) {
      await files.removeTree('/', (removed) => {
        progress.update(() => `volume ${volume.name}: ${removed} entries removed`);
      });
    }
    await files.dropRoot();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    throw new SealfsError(
      'BUSY',
      `volume '${volume.name}' is not empty; empty it first, or delete everything with --recursive`,
      { cause: error },
    );
  } finally {
    progress.end();
    await files.close();
  }
}
