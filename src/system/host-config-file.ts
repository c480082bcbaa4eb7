import { type FSWatcher, readFileSync, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { faulty, ok, type Parsed } from '../errors.ts';
import { emptyConfig, type HostConfig } from '../host/host-config.ts';
import { parseHostFile } from '../host/host-file.ts';
import type { HostSettings } from '../host/host-settings.ts';
import { parseNetworksFile } from '../host/networks-file.ts';

/** What takes 40 MiB to read as YAML. */
const mostBytes = 256 * 1024;

/** Which files have been there: going away does not make one the same as one that never was. */
export interface SeenFiles {
  readonly host: boolean;
  readonly networks: boolean;
}

/** Where both files are. */
export type HostFiles = Pick<HostSettings, 'file' | 'networksFile'>;

/** Reads the host file and network-go's, as far as they are there, or finds every fault in them. */
export function readHostFiles(
  { file, networksFile }: HostFiles,
  seen: SeenFiles = { host: false, networks: false },
): { readonly seen: SeenFiles; readonly config: Parsed<HostConfig> } {
  const host = readConfigFile(file, { parse: parseHostFile, isRequired: seen.host });
  const networks = readConfigFile(networksFile.path, {
    parse: parseNetworksFile,
    isRequired: seen.networks || networksFile.isRequired,
  });
  const faults = [host, networks].flatMap((read) => (read.kind === 'faults' ? read.faults : []));
  if (host.kind === 'faults' || networks.kind === 'faults') return { seen, config: faulty(...faults) };
  return {
    seen: { host: host.value !== undefined, networks: networks.value !== undefined },
    config: ok({
      ...(host.value ?? emptyConfig),
      ...(networks.value === undefined ? {} : { networks: networks.value }),
    }),
  };
}

/**
 * Undefined: there is none. But a file that was there once does not open what it shut by going away, say while an editor
 * puts another in its place.
 */
function readConfigFile<T>(
  path: string,
  { parse, isRequired }: { readonly parse: (text: string, file: string) => Parsed<T>; readonly isRequired: boolean },
): Parsed<T | undefined> {
  try {
    const about = statSync(path);
    if (!about.isFile()) {
      const hint = 'put the file there; Docker makes a folder where the file of a mount is missing';
      return faulty({ name: path, problem: 'is no file', hint });
    }
    if (about.size > mostBytes) {
      const hint = `keep it below ${mostBytes / 1024} KiB, which hold some thousand entries`;
      return faulty({ name: path, problem: `is too large (${about.size} bytes)`, hint });
    }
    return parse(readFileSync(path, 'utf8'), basename(path));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if (error.code === 'ENOENT' && !isRequired) return ok(undefined);
    if (error.code === 'ENOENT') {
      return faulty({ name: path, problem: 'is gone', hint: 'put it back, or restart the role to do without' });
    }
    const hint = 'make it readable for root, which in a container needs DAC_READ_SEARCH for files of others';
    return faulty({ name: path, problem: `cannot be read (${error.code})`, hint });
  }
}

/**
 * Calls when anything in the file's folder changes: an editor replaces the file, and a link may lead to it. A folder that
 * cannot be watched is left to whoever reads the file from time to time.
 */
export function watchHostFile(path: string, onChange: () => void): { readonly close: () => void } {
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(path), () => onChange());
    watcher.on('error', () => watcher?.close());
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
  return { close: () => watcher?.close() };
}
