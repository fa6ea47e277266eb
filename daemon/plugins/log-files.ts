/** What plugins log, for `hearth plugin logs`: two files for each in the state directory, the older of which is replaced. */
import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

const maxBytes = 256 << 10;
const lineOf = /"ns":"plugin\/([a-z][a-z0-9-]{0,63})"/;

/** The file that is written, and the one before it. */
export function pluginLogPaths(stateDirectory: string, plugin: string): readonly [string, string] {
  const path = join(stateDirectory, 'plugin-logs', `${plugin}.log`);
  return [path, `${path}.1`];
}

export class PluginLogFiles {
  readonly #bytes = new Map<string, number>();

  constructor(private readonly stateDirectory: string) {}

  /** Takes a line of the daemon's log; one that is no plugin's is left alone. Never throws: nobody could be told. */
  write(line: string): void {
    const [, plugin] = lineOf.exec(line) ?? [];
    if (plugin === undefined) return;
    const [path, older] = pluginLogPaths(this.stateDirectory, plugin);
    const size = Buffer.byteLength(line);
    try {
      let bytes = this.#bytes.get(plugin);
      if (bytes === undefined) {
        mkdirSync(dirname(path), { recursive: true });
        bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      }
      if (bytes > 0 && bytes + size > maxBytes) {
        renameSync(path, older);
        bytes = 0;
      }
      appendFileSync(path, line, { mode: 0o640 });
      this.#bytes.set(plugin, bytes + size);
    } catch {
      this.#bytes.delete(plugin);
    }
  }
}
