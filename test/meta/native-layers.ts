/** Which C++ file may include what. */
import type { SourceFile } from './repository';

/** Folder of addon/ to what its files may include: folders, or single files where a folder would be too much. */
const mayInclude: Readonly<Record<string, readonly string[]>> = {
  base: ['base/'],
  gguf: ['base/', 'gguf/'],
  ops: ['base/', 'kernels/', 'ops/', 'gguf/block_types.h', 'gguf/gguf.h'],
  input: ['base/', 'ops/', 'input/'],
  text: ['base/', 'gguf/', 'text/'],
  model: ['base/', 'gguf/', 'ops/', 'kernels/', 'input/', 'model/'],
  napi: ['runtime.h', 'napi/', 'base/status.h'],
  tools: ['runtime.h'],
};

/** A kernel file shares nothing with the rest but plain data: an inline function of a header could be linked with its flags. */
const kernelHeaders = ['addon/kernels/kernels.h', 'addon/gguf/block_types.h', 'stdint.h', 'immintrin.h', 'arm_neon.h'];

/** One sentence for each violation, sorted. */
export function nativeViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap(violationsOf).sort();
}

function violationsOf({ path, text }: SourceFile): string[] {
  const folder = /^addon\/(\w+)\//.exec(path)?.[1];
  return includesOf(text).flatMap(({ header, quoted }) => {
    if (quoted && !header.startsWith('addon/')) return [`${path} includes "${header}": paths start at the root`];
    if (header === 'addon/gguf/block_types.h' && path === 'addon/kernels/kernels.h') return [];
    if (folder === 'kernels' && !/\/dispatch\.(cc|h)$/.test(path)) {
      const part = /^addon\/kernels\/\w+\.inc$/.test(header); // compiled into each file that includes it, all static
      return part || kernelHeaders.includes(header) ? [] : [`${path} includes ${header}: kernels depend on nothing`];
    }
    if (folder === undefined || !quoted) return [];
    const allowed = folder === 'kernels' ? ['kernels/'] : mayInclude[folder];
    if (allowed === undefined) return [`${path}: the folder has no rule`];
    const target = header.slice('addon/'.length);
    return allowed.some((prefix) => target === prefix || (prefix.endsWith('/') && target.startsWith(prefix)))
      ? []
      : [`${path} includes ${header}: ${folder} may include ${allowed.join(', ')}`];
  });
}

function includesOf(text: string): { header: string; quoted: boolean }[] {
  return [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/gm)].map(([, open, header]) => ({
    header: header as string,
    quoted: open === '"',
  }));
}
